"""The documents of the model store, and where each lies.

models/<name>/versions/<version>/manifest.sig     where manifests are signed: RSASSA-PKCS1-v1_5 with SHA-256 over manifest.json, in base64
models/<name>/versions/<version>/manifest.json    written last: a version without it does not exist
models/<name>/versions/<version>/model.onnx       and whatever else the manifest lists
models/<name>/versions/<version>/model.tar.gz     of a heavy model: what Triton loads, model.onnx among it
models/<name>/aliases/<alias>.json                the only mutable objects
models/<name>/history/<time>-<event>.json         append-only: who moved which alias, and why
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import orjson

from . import _digest
from ._typing import Any, Protocol, TypeVar
from .errors import AliasNotFound, ObjectNotFound, RegistryError, UnverifiedModel
from .record import Record, replace

__all__ = [
    "ALIAS_NAME",
    "ARCHIVE_FILE",
    "LOAD_SCHEMA",
    "MANIFEST_FILE",
    "MODEL_FILE",
    "SCHEMA",
    "SIGNATURE_FILE",
    "SIGNED_SCHEMA",
    "VERSION_NAME",
    "Alias",
    "File",
    "GateResult",
    "Lineage",
    "Load",
    "Manifest",
    "Object",
    "Parity",
    "Reader",
    "TensorSpec",
    "alias_key",
    "archive_version",
    "dump",
    "model_prefix",
    "parse",
    "parse_alias",
    "read_alias",
    "read_manifest",
    "version_prefix",
]

SCHEMA = 1
"""Of manifests and aliases; a reader refuses a newer one."""
SIGNED_SCHEMA = 2
"""Of aliases with a signature, which a release from before signatures refuses by this number."""
LOAD_SCHEMA = 3
"""Of manifests and aliases that say how to load, which a release from before load formats refuses by this number."""
MODEL_FILE = "model.onnx"
ARCHIVE_FILE = "model.tar.gz"
MANIFEST_FILE = "manifest.json"
SIGNATURE_FILE = "manifest.sig"
ALIAS_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
VERSION_NAME = re.compile(r"[1-9][0-9]{3}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])T(?:[01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]Z-[0-9a-f]{8}")
_T = TypeVar("_T")


class Object:
    """An object as read: its bytes and what names this state of it."""

    __slots__ = ("body", "etag", "version_id")

    def __init__(self, body: bytes, etag: str, version_id: str | None) -> None:
        self.body = body
        self.etag = etag
        self.version_id = version_id


class Reader(Protocol):
    """What a function needs of an object store; `modelserve.s3` is the lean one."""

    def get(self, key: str, *, version_id: str | None = None, unless_etag: str | None = None) -> Object | None:
        """None when the object still has `unless_etag`. Raises `ObjectNotFound`, `StoreUnavailable`."""

    def download(self, key: str, *, version_id: str | None, size: int, sha256: str, to: str) -> None:
        """Raises `UnverifiedModel`, and leaves no file, unless the bytes are the ones named."""

    def list(self, prefix: str) -> list[str]:
        """Every key under `prefix`, sorted."""


class TensorSpec(Record):
    """An input or output of a model; -1 in `shape` is a dynamic dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class File(Record):
    """A file of a version: `path` below the version's prefix, `size` in bytes, `sha256` in hex."""

    path: str
    size: int
    sha256: str
    version_id: str | None = None


class GateResult(Record):
    """A gate of model.toml, what the held-out rows gave, and whether that is enough."""

    gate: str
    value: float
    passed: bool


class Parity(Record):
    """The ONNX model against the original on held-out rows."""

    rows: int
    disagreement: float
    """Share of rows whose label differs."""
    largest_difference: float
    """Of any number in the answers, relative to the larger of 1 and its magnitude."""
    passed: bool


class Lineage(Record):
    """Where a version comes from."""

    framework: str
    """Such as `scikit-learn 1.9.1`."""
    source: str = ""
    """SHA-256 of the train.py that made it."""
    parent: str | None = None
    """The version that this one was made from, by `transform`."""
    transform: str | None = None
    """Such as `static-int8` or `opset 21`."""
    forced: str | None = None
    """Why a version that failed its gates or parity was published all the same."""


class Load(Record):
    """How a version is opened: what was fastest when it was published, and no slower to answer."""

    format: str
    """`onnx` as published, `optimized` without what ONNX Runtime does to a graph at each load, `external` with weights in a file of
    their own that is mapped into memory, or `ort`, ONNX Runtime's own format, which is mapped as a whole."""
    files: tuple[File, ...]
    """What is downloaded, the one to open first; `path` as in `Manifest.files`, or the whole key in an alias."""
    prepack: bool = True
    """Whether weights are arranged for the CPU at each load, which takes memory and time, and makes most runs faster."""
    zstd: str = ""
    """The path of the file that is compressed in transit, without its suffix; empty where none is."""
    cpu: str = ""
    """What a CPU must have to open it, and after `!` what it must lack, such as `x86_64 avx2 !avx512f`; empty for any CPU."""
    optimize: bool = False
    """Whether ONNX Runtime optimises the graph at each load, as it does with `onnx`; one that was saved optimised needs it no more."""


class Manifest(Record):
    """All that is known of a version."""

    name: str
    version: str
    created: str
    """UTC, ISO 8601."""
    task: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    files: tuple[File, ...]
    opset: Mapping[str, int]
    """Operator-set domain to version; the default domain is the empty string."""
    ir: int
    description: str = ""
    labels: tuple[str, ...] = ()
    metrics: Mapping[str, float] = {}
    gates: tuple[GateResult, ...] = ()
    parity: Parity | None = None
    lineage: Lineage | None = None
    max_batch: int | None = None
    """Rows that Triton takes at once, 0 for any number as one; None of a version without an archive."""
    row_wise: bool | None = None
    """Whether a row is answered alone as it is among others; None of a version from before anybody looked."""
    load: Load | None = None
    """How a function opens it; None for `model.onnx` as it is."""
    load_figures: Mapping[str, Mapping[str, float]] | None = None
    """What each way of opening it took where it was built, by its name, the one taken first; those of one version compare."""
    load_asked: str | None = None
    """What [loading] of model.toml asked for, where that was not to measure."""
    schema: int = SCHEMA

    @property
    def model_file(self) -> File:
        """Raises `UnverifiedModel` when the manifest lists no model."""
        for file in self.files:
            if file.path == MODEL_FILE:
                return file
        raise UnverifiedModel(f"manifest of {self.name}/{self.version}", "no model.onnx among its files", "one")

    @property
    def model_object(self) -> File:
        """As `model_file`, but `path` is the whole key."""
        file = self.model_file
        return replace(file, path=version_prefix(self.name, self.version) + file.path)

    @property
    def load_object(self) -> Load | None:
        """As `load`, but every `path` is the whole key, as in an alias."""
        if self.load is None:
            return None
        prefix = version_prefix(self.name, self.version)
        files = tuple(replace(file, path=prefix + file.path) for file in self.load.files)
        return replace(self.load, files=files, zstd=self.load.zstd and prefix + self.load.zstd)

    def holding(self, files: tuple[File, ...]) -> Manifest:
        """With `files`, of which those to load are the same ones. Raises `UnverifiedModel` where one of these is missing."""
        if self.load is None:
            return replace(self, files=files)
        known = {file.path: file for file in files}
        if missing := [file.path for file in self.load.files if file.path not in known]:
            raise UnverifiedModel(f"manifest of {self.name}/{self.version}", f"no {missing[0]} among its files", "all that it loads")
        return replace(self, files=files, load=replace(self.load, files=tuple(known[file.path] for file in self.load.files)))

    def holds(self, draft: Manifest) -> bool:
        """Whether publishing `draft` would add nothing: the same bytes, served in the same way, and judged at least as well.

        Values of metrics and gates may differ, reports, and what was measured to be the fastest way of opening it.
        """
        return self._served() == draft._served() and not self._judged_less(draft)

    def _judged_less(self, draft: Manifest) -> bool:
        """Without metrics where `draft` has some, without one of its gates, or forced where it passed."""
        gates = [result.gate for result in self.gates]
        unscored = bool(draft.metrics) and not self.metrics
        return unscored or any(result.gate not in gates for result in draft.gates) or (self._forced and not draft._forced)

    @property
    def _forced(self) -> bool:
        return bool(self.lineage and self.lineage.forced)

    def _served(self) -> tuple[object, ...]:
        files = {(file.path, file.sha256) for file in self.files if file.path in {MODEL_FILE, ARCHIVE_FILE}}
        return files, self.task, self.inputs, self.outputs, self.labels, self.max_batch, self.row_wise, self.load_asked

    def to_json(self) -> bytes:
        """Without what is None of what releases from before it could not read."""
        document = _without(self, "max_batch", "row_wise", "load", "load_figures", "load_asked")
        return dump(document | {"lineage": self.lineage and _without(self.lineage, "transform")})

    @classmethod
    def from_json(cls, body: bytes, *, what: str) -> Manifest:
        """Raises `UnverifiedModel` for anything but a manifest, `RegistryError` for a newer schema."""

        def build(document: dict[str, Any]) -> Manifest:
            parity, lineage = document.get("parity"), document.get("lineage")
            return cls(
                **{
                    **document,
                    "inputs": _specs(document["inputs"]),
                    "outputs": _specs(document["outputs"]),
                    "files": tuple(File(**item) for item in document["files"]),
                    "labels": tuple(document.get("labels", ())),
                    "gates": tuple(GateResult(**item) for item in document.get("gates", ())),
                    "parity": Parity(**parity) if parity else None,
                    "lineage": Lineage(**lineage) if lineage else None,
                    "load": _load(document.get("load")),
                }
            )

        return parse(body, what, build, newest=LOAD_SCHEMA)


class Alias(Record):
    """A name that moves, and all that is needed to fetch what it names in two round trips."""

    name: str
    """Of the model."""
    alias: str
    version: str
    manifest_sha256: str
    model: File
    """`path` is the whole key."""
    signature: str | None = None
    """Of the manifest, in base64; None where manifests are not signed."""
    load: Load | None = None
    """How it is opened; None for `model` as it is."""
    schema: int = SCHEMA

    def to_json(self) -> bytes:
        """Without a `signature` or `load` that is None, which releases from before them could not read."""
        return dump(_without(self, "signature", "load"))

    @classmethod
    def from_json(cls, body: bytes, *, what: str, advice: str) -> Alias:
        """Raises `UnverifiedModel` with `advice` for anything but an alias, `RegistryError` for a newer schema."""

        def build(document: dict[str, Any]) -> Alias:
            return cls(**{**document, "model": File(**document["model"]), "load": _load(document.get("load"))})

        return parse(body, what, build, newest=LOAD_SCHEMA, advice=advice)


def model_prefix(name: str) -> str:
    """All that belongs to a model; a function's role ends at it."""
    return f"models/{name}/"


def version_prefix(name: str, version: str) -> str:
    """All that belongs to a version; nothing under it ever changes."""
    return f"{model_prefix(name)}versions/{version}/"


def archive_version(digits: str) -> int:
    """What Triton calls a version, in its archive and in its answers, where only numbers are versions.

    `digits` are the first 8 of the SHA-256 of its model, with which the version's own name ends.
    """
    return int(digits, 16) or 1


def alias_key(name: str, alias: str) -> str:
    """The object that says what an alias names."""
    return f"{model_prefix(name)}aliases/{alias}.json"


def read_alias(store: Reader, name: str, alias: str) -> tuple[Alias, str]:
    """The alias and its ETag. Raises `AliasNotFound`, `StoreUnavailable`, `UnverifiedModel`."""
    key = alias_key(name, alias)
    try:
        found = store.get(key)
    except ObjectNotFound:
        raise AliasNotFound(name, alias) from None
    assert found is not None  # only a conditional read answers None
    return parse_alias(found.body, name, alias), found.etag


def parse_alias(body: bytes, name: str, alias: str) -> Alias:
    """Raises `UnverifiedModel` when it is another alias, or points outside its model; `RegistryError` for a newer schema."""
    key, advice = alias_key(name, alias), f"run: modelctl promote {name} VERSION --alias {alias}"
    parsed = Alias.from_json(body, what=key, advice=advice)
    version, path = str(parsed.version), str(parsed.model.path)
    paths = [path, *(str(file.path) for file in (parsed.load.files if parsed.load else ()))]
    outside = [path for path in paths if not path.startswith(version_prefix(name, version))]
    if (parsed.name, parsed.alias) != (name, alias) or outside:
        found = f"alias {parsed.alias!r} of {parsed.name!r} to {(outside or paths)[0]!r}"
        raise UnverifiedModel(key, found, f"alias {alias!r} of {name!r} to a file of its own", advice)
    if not isinstance(parsed.manifest_sha256, str) or not VERSION_NAME.fullmatch(version):
        found = f"version {version!r} with {parsed.manifest_sha256!r} for its manifest's SHA-256"
        raise UnverifiedModel(key, found, "the name of a version and 64 hex digits", advice)
    return parsed


def read_manifest(
    store: Reader, name: str, version: str, *, sha256: str | None = None, check: Callable[[], None] = lambda: None
) -> tuple[Manifest, str]:
    """The manifest and its SHA-256, which must be `sha256` where that is given; before anything of it is parsed, `check` may object.

    Raises `ObjectNotFound`, `UnverifiedModel`.
    """
    key = version_prefix(name, version) + MANIFEST_FILE
    found = store.get(key)
    assert found is not None  # only a conditional read answers None
    check()
    digest = _digest.sha256(found.body).hexdigest()
    if sha256 is not None and digest != sha256:
        raise UnverifiedModel(key, f"SHA-256 {digest}", sha256)
    manifest = Manifest.from_json(found.body, what=key)
    if (manifest.name, manifest.version) != (name, version):
        raise UnverifiedModel(key, f"the manifest of {manifest.name}/{manifest.version}", f"that of {name}/{version}")
    return manifest, digest


def dump(document: Record | Mapping[str, Any]) -> bytes:
    """A document as it is kept: JSON that a person can read."""
    return orjson.dumps(document, default=vars, option=orjson.OPT_INDENT_2)


def parse(
    body: bytes,
    what: str,
    build: Callable[[dict[str, Any]], _T],
    *,
    newest: int = SCHEMA,
    advice: str = "publish the model again",
) -> _T:
    """What `build` makes of a JSON object. Raises `UnverifiedModel`, and `RegistryError` for a newer schema."""
    try:
        document = orjson.loads(body)
        newer = document.get("schema", SCHEMA) > newest
        if not newer:
            return build(document)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnverifiedModel(what, f"a document that can't be read ({error})", "what this library writes", advice) from None
    raise RegistryError(f"{what} has schema {document['schema']}, and this release reads up to {newest}; deploy a newer release")


def _without(record: Record, *names: str) -> dict[str, Any]:
    """Its fields, less those of `names` that are None."""
    return {key: value for key, value in vars(record).items() if value is not None or key not in names}


def _load(document: dict[str, Any] | None) -> Load | None:
    return None if document is None else Load(**{**document, "files": tuple(File(**item) for item in document["files"])})


def _specs(items: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name=item["name"], datatype=item["datatype"], shape=tuple(item["shape"])) for item in items)
