"""Runs a function as Lambda does, and writes down when each part of its cold start began and ended.

It runs in the function's process, so it imports nothing that a bare interpreter has not imported already, and is imported itself by no
other module. What is timed is wrapped by name when its module has been imported: the code that serves knows nothing of it.
"""

from __future__ import annotations

import sys
import time
from _thread import get_ident

TYPE_CHECKING = False  # as type checkers read it, without the import of `typing`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["CALLS", "HANDED_OVER", "HASHER", "Call", "begin"]

_clock = time.monotonic_ns
_spans: list[tuple[str, str, int, int, int]] = []
"""Kind, name, begin and end in nanoseconds of the monotonic clock, thread."""


class Call:
    """A function that is timed."""

    def __init__(self, kind: str, path: str, label: Callable[[tuple[Any, ...]], str] | None = None) -> None:
        """`path` is its name in its module, of a method with its class; `label` makes of its arguments what tells one call from another."""
        self.kind = kind
        self.path = path
        self.label = label


def _request(arguments: tuple[Any, ...]) -> str:
    service, sent = arguments[:2]
    return f"{service._name} {sent.method} {sent.path.rpartition('/')[2]}"


CALLS: dict[str, tuple[Call, ...]] = {
    "awslambdaric.bootstrap": (Call("runtime", "handle_event_request"),),
    "awslambdaric.lambda_runtime_client": (Call("runtime", "BaseLambdaRuntimeClient.wait_next_invocation"),),
    "functions.predict.observability": tuple(Call("log", f"Observer.{name}") for name in ("log", "count", "request")),
    "modelserve._http": (Call("connect", "connected", lambda arguments: str(arguments[0]).partition(":")[0]),),
    "modelserve._ort": (Call("library", "Api.__init__"),),
    "modelserve._zstd": (Call("zstd", "expand"),),
    "modelserve.aws": (Call("request", "Service.send", _request),),
    "modelserve.binding": (Call("run", "BindingSession.run"),),
    "modelserve.fetch": (Call("manifest", "verified_manifest"),),
    "modelserve.invocation": (Call("init", "App.start"), Call("handler", "App.handle")),
    "modelserve.native": (Call("run", "NativeSession.run"),),
    "modelserve.session": (Call("session", "open_session"),),
    "modelserve.signature": (Call("signature", "SigningKey.check"),),
}
"""By module. A name that is no longer there is an error, as it would be in the code that uses it."""
HASHER = ("modelserve._digest", "hasher")
"""Makes what hashes a file while it arrives."""
HANDED_OVER = ("awslambdaric.lambda_runtime_client", "BaseLambdaRuntimeClient.post_invocation_result")
"""Called with the first answer."""


def begin(begun: int, first: int, spans_file: str) -> None:
    """Sees all that is imported from now on; when the first answer is ready, what was seen is in `spans_file`, and the answer goes out.

    `begun` is when the process was asked for, `first` when its first line ran: nanoseconds of the monotonic clock, which all processes
    of a machine share.
    """
    _note("interpreter", "", begun, first)
    _Finder.spans_file = spans_file
    sys.meta_path.insert(0, _Finder)
    _note("tracer", "", first, _clock())


class _Finder:
    """Finds modules as all others do, and times what their loaders take."""

    spans_file = ""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        begun = _clock()
        for finder in sys.meta_path:
            spec = None if finder is _Finder else finder.find_spec(name, path, target)
            if spec is not None:
                loader = spec.loader
                if loader is not None and not isinstance(loader, type):  # the loaders of what is built in are classes, and take no time
                    _note("import", name, begun, _clock())
                    _time_loader(name, loader)
                return spec
        return None


def _time_loader(name: str, loader: Any) -> None:
    create, execute = loader.create_module, loader.exec_module

    def create_module(spec: Any) -> Any:  # where native code is mapped
        return _timed("import", name, create, spec)

    def exec_module(module: Any) -> None:
        _timed("import", name, execute, module)
        for call in CALLS.get(name, ()):
            _wrap(module, call)
        if name == HASHER[0]:
            _time_hash(module)
        if name == HANDED_OVER[0]:
            _before(module, HANDED_OVER[1], lambda: _write(_Finder.spans_file))

    loader.create_module, loader.exec_module = create_module, exec_module


def _wrap(module: Any, call: Call) -> None:
    owner, name = _found(module, call.path)
    function = getattr(owner, name)

    def timed(*arguments: Any, **options: Any) -> Any:
        begun = _clock()
        try:
            return function(*arguments, **options)
        finally:
            _note(call.kind, call.label(arguments) if call.label else "", begun, _clock())

    setattr(owner, name, timed)


def _before(module: Any, path: str, what: Callable[[], None]) -> None:
    owner, name = _found(module, path)
    function = getattr(owner, name)

    def preceded(*arguments: Any, **options: Any) -> Any:
        what()
        return function(*arguments, **options)

    setattr(owner, name, preceded)


def _found(module: Any, path: str) -> tuple[Any, str]:
    """What has it, and its name there."""
    *owners, name = path.split(".")
    for owner in owners:
        module = getattr(module, owner)
    return module, name


def _time_hash(module: Any) -> None:
    """What counts is the time within `update`."""
    made = getattr(module, HASHER[1])

    def hasher(size: int) -> Any:
        return _Hash(made(size))

    setattr(module, HASHER[1], hasher)


class _Hash:
    def __init__(self, found: Any) -> None:
        self._update = found.update
        self.hexdigest = found.hexdigest

    def update(self, data: Any) -> None:
        _timed("hash", "", self._update, data)


def _timed(kind: str, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
    begun = _clock()
    try:
        return call(*arguments)
    finally:
        _note(kind, name, begun, _clock())


def _note(kind: str, name: str, begun: int, ended: int) -> None:
    _spans.append((kind, name, begun, ended, get_ident()))


def _write(file: str) -> None:
    """Once: of what comes after the first answer nothing is asked."""
    spans = [*_spans, ("end", "", _clock(), _clock(), get_ident())]
    import json  # noqa: PLC0415 - as late as it can be

    with open(file, "x", encoding="utf-8") as written:
        json.dump(spans, written)
