"""A loaded graph, whatever drives ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from .manifest import TensorSpec
from .tensors import Tensor

if TYPE_CHECKING:
    from .manifest import Load

__all__ = ["BACKENDS", "Session", "open_session"]

BACKENDS: Final = ("native", "binding")
"""The C API of ONNX Runtime's library, and its Python binding, which needs numpy."""


class Session(Protocol):
    """A graph in memory; `inputs` and `outputs` are its signature."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, inputs: list[Tensor], outputs: list[str], *, seconds: float) -> list[Tensor]:
        """The named outputs for `inputs` that fit the signature, within `seconds`.

        Raises `DeadlineExceeded`, `InsufficientMemory`, `ModelFailed`, and `InvalidInput` for elements that the signature can't rule out.
        """

    def warm_up(self, *, seconds: float) -> None:
        """One run on zeros and empty strings, dynamic dimensions taken as 1; a graph that refuses just these is warm too.

        Raises `DeadlineExceeded`, `InsufficientMemory`.
        """


def open_session(
    path: str, *, name: str, threads: int, refuse_nan: bool = False, load: Load | None = None, backend: str = "binding"
) -> Session:
    """The graph in a file, which may be deleted then, opened as `load` says; None is plain ONNX.

    Raises `UnverifiedModel` for a graph that can't be loaded or served, `InsufficientMemory` for one that asks for more than the process
    may have.
    """
    if load is not None or backend != "binding":
        raise NotImplementedError
    from .binding import BindingSession  # noqa: PLC0415 - what isn't used isn't imported

    return BindingSession(path, name=name, threads=threads, refuse_nan=refuse_nan)
