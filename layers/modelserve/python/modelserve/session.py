"""A loaded graph, whatever drives ONNX Runtime."""

from __future__ import annotations

from contextlib import suppress

from ._typing import TYPE_CHECKING, Final, Protocol
from .errors import InsufficientMemory, ModelFailed, ServeError, UnverifiedModel, is_no_memory, onnx_reason
from .manifest import TensorSpec
from .tensors import Tensor, made

if TYPE_CHECKING:
    from .manifest import Load

__all__ = ["BACKENDS", "Session", "entries", "failed", "open_session", "preload", "unloadable", "unoptimized"]

BACKENDS: Final = ("native", "binding")
"""The C API of ONNX Runtime's library, and its Python binding, which needs numpy."""


class Session(Protocol):
    """A graph in memory; `inputs` and `outputs` are its signature."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, inputs: list[Tensor], outputs: list[str], *, seconds: float) -> list[Tensor]:
        """The named outputs for `inputs` that fit the signature, within `seconds`.

        Raises `DeadlineExceeded`, `InsufficientMemory`, `ModelFailed`, and `InvalidInput` for elements that the signature can't rule out;
        `ValueError` for data that isn't as large as its shape says.
        """

    def warm_up(self, *, seconds: float) -> None:
        """One run on zeros and empty strings, dynamic dimensions taken as 1; a graph that refuses just these is warm too.

        Raises `DeadlineExceeded`, `InsufficientMemory`.
        """
        with suppress(ModelFailed):  # such as text that an encoder has never seen
            self.run([made(spec) for spec in self.inputs], [output.name for output in self.outputs], seconds=seconds)


def entries(load: Load | None) -> dict[str, str]:
    """Entries of a session's configuration by their keys, for all backends."""
    found = {"session.intra_op.allow_spinning": "0"}  # a spinning thread burns the CPU share that the next request needs
    if load and not load.prepack:
        found["session.disable_prepacking"] = "1"
    if load and load.format == "ort":
        found["session.load_model_format"] = "ORT"
    return found


def unoptimized(load: Load | None) -> bool:
    """Whether what ONNX Runtime makes of a graph has been made when it was published."""
    return bool(load and load.format != "onnx" and not load.optimize)


def unloadable(error: Exception, *, name: str, path: str) -> ServeError:
    """What is told of a graph that ONNX Runtime didn't load, by whichever backend; `error` has its message."""
    if _is_no_memory(error):
        return InsufficientMemory(name, "to load")
    reason = onnx_reason(str(error)).replace(path, "the file")
    return UnverifiedModel(f"the graph of {name!r}", reason, "one that this ONNX Runtime loads")


def failed(error: Exception, *, name: str) -> ServeError:
    """As `unloadable`, of a run."""
    return InsufficientMemory(name) if _is_no_memory(error) else ModelFailed(name, onnx_reason(str(error)))


def _is_no_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or is_no_memory(str(error))


def preload(backend: str) -> None:
    """Makes ready what `open_session` will need, beside a download. Raises what that would raise."""
    if backend == "native":
        from . import native  # noqa: PLC0415 - what isn't used isn't imported

        native.preload()
    else:
        from . import binding  # noqa: F401, PLC0415


def open_session(
    path: str, *, name: str, threads: int, refuse_nan: bool = False, load: Load | None = None, backend: str = "native"
) -> Session:
    """The graph in a file, which may be deleted then, opened as `load` says; None is plain ONNX.

    Raises `UnverifiedModel` for a graph that can't be loaded or served, `InsufficientMemory` for one that asks for more than the process
    may have, `ModelNotReady` where this process can't drive ONNX Runtime, `ValueError` for a `backend` that is none of `BACKENDS`.
    """
    if backend == "native":
        from .native import NativeSession  # noqa: PLC0415 - what isn't used isn't imported

        return NativeSession(path, name=name, threads=threads, refuse_nan=refuse_nan, load=load)
    if backend == "binding":
        from .binding import BindingSession  # noqa: PLC0415

        return BindingSession(path, name=name, threads=threads, refuse_nan=refuse_nan, load=load)
    raise ValueError(f"there is no session backend {backend!r}; expected one of {', '.join(BACKENDS)}")
