"""A run of a data set: what was asked for, where it is kept, and that one execution alone has it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from posixpath import basename, splitext
from typing import Any
from urllib.parse import urlsplit

import orjson

from modelserve.errors import ObjectNotFound, PreconditionFailed, ServeError, StoreUnavailable
from modelserve.manifest import Alias
from modelserve.s3 import S3Bucket
from scoring import DataSetError, Plan

__all__ = ["DataSetRefused", "Pinned", "Request", "Run", "file_system", "path_of", "read_plan", "refusing"]

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_MARKERS = ("_", ".")
"""With which names begin that are no data: `_SUCCESS`, `.part-0.crc`."""


class DataSetRefused(Exception):
    """What only a person can put right: the state machine doesn't try it again. Its text says what to do."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to run over which data; what `modelctl batch` sends, or an upload below `in/` stands for."""

    run: str
    model: str
    input: str
    """`s3://bucket/key` of a file, or with a slash at the end of a folder."""
    output: str
    """`s3://bucket/prefix/`."""
    alias: str | None = None
    """Whose version runs; None is the alias that answers."""
    columns: Mapping[str, str | Sequence[str]] | None = None
    prefix: str = ""
    """In front of the outputs' names, where they become columns."""

    @classmethod
    def read(cls, document: Mapping[str, Any], *, data_bucket: str, buckets: Sequence[str]) -> Request | None:
        """None for what is put into a bucket and is no data, such as the marker of a folder. Raises `DataSetRefused`.

        `document` is what the execution was started with; `buckets` are those that a run may name beside `data_bucket`.
        """
        found = cls._of_upload(document["detail"]) if "detail" in document else cls._of_command(document)
        if found is not None:
            found._check(data_bucket, buckets)
        return found

    @classmethod
    def _of_command(cls, document: Mapping[str, Any]) -> Request:
        known = {name: document[name] for name in cls.__dataclass_fields__ if document.get(name) is not None}
        missing = {"run", "model", "input", "output"} - known.keys()
        texts = all(isinstance(value, str) for name, value in known.items() if name != "columns")
        if missing or not texts or not _RUN.fullmatch(known["run"]) or not _are_bindings(known.get("columns", {})):
            expected = '{"run": "…", "model": "…", "input": "s3://…", "output": "s3://…/"}, as `modelctl batch` sends it'
            raise DataSetRefused(f"the execution was started with {_short(document)}; expected {expected}")
        return cls(**{**known, "output": known["output"].rstrip("/") + "/"})

    @classmethod
    def _of_upload(cls, detail: Mapping[str, Any]) -> Request | None:
        """The same upload is the same run, however often EventBridge tells of it."""
        bucket, upload = detail["bucket"]["name"], detail["object"]
        key: str = upload["key"]
        file = basename(key)
        if not file or file.startswith(_MARKERS):
            return None
        _, model, *rest = key.split("/")
        if not rest:
            raise DataSetRefused(f"s3://{bucket}/{key} names no model; put it below in/NAME/, where NAME is the model that is to run it")
        told = (bucket, key, upload.get("etag", ""), upload.get("version-id", ""), upload.get("sequencer", ""))
        run = hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]
        output = f"s3://{bucket}/out/{model}/{splitext(file)[0]}-{run}/"
        return cls(run=run, model=model, input=f"s3://{bucket}/{key}", output=output)

    def _check(self, data_bucket: str, buckets: Sequence[str]) -> None:
        for what, uri, folders in (("input", self.input, ("in/", "sets/", "out/")), ("output", self.output, ("out/",))):
            parts = urlsplit(uri)
            if parts.scheme != "s3" or not parts.netloc:
                raise DataSetRefused(f"{what} {uri!r:.300} is no address in S3; expected s3://BUCKET/PATH")
            if parts.netloc == data_bucket:
                if not uri.removeprefix(f"s3://{data_bucket}/").startswith(folders):
                    raise DataSetRefused(f"{what} {uri} is not below {' or '.join(folders)} of the deployment's own bucket; put it there")
            elif parts.netloc not in buckets:
                raise DataSetRefused(
                    f"{what} {uri} is in a bucket that this deployment may not use; add {parts.netloc!r} to data_set_buckets "
                    f"of its settings in stacks/settings.py and deploy it, or use s3://{data_bucket}/{folders[0]}"
                )


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """What the first plan of a run decided, and every later step goes by: a promotion in between changes nothing."""

    request: Request
    alias: Alias

    def to_json(self) -> bytes:
        return orjson.dumps({"request": asdict(self.request), "alias": orjson.loads(self.alias.to_json())})

    @classmethod
    def from_json(cls, body: bytes) -> Pinned:
        document = orjson.loads(body)
        advice = "start a new run"
        alias = Alias.from_json(orjson.dumps(document["alias"]), what="the plan of the run", advice=advice)
        return cls(request=Request(**document["request"]), alias=alias)


class Run:
    """The folder of one run in the bucket of data sets; what is in it is written once, so that every step can be done again."""

    def __init__(self, bucket: S3Bucket, run: str) -> None:
        self._bucket = bucket
        self._folder = f"work/{run}"
        self.shards = f"{self._folder}/shards.json"

    def failures(self, execution: str) -> str:
        """The folder for why shards failed under an execution of this name or ARN."""
        return f"{self._folder}/failures/{execution.rpartition(':')[2]}"

    def claim(self, request: Request, execution: str) -> bool:
        """Whether this execution has the run: it is the first, or has it already."""
        told = self._once("claim", orjson.dumps({"execution": execution, "request": asdict(request)}))
        return bool(orjson.loads(told)["execution"] == execution)

    def claimed(self) -> Request:
        """What the run was first started for. Raises `DataSetRefused` for a run that never was."""
        try:
            return Request(**orjson.loads(self._get("claim"))["request"])
        except ObjectNotFound:
            name = basename(self._folder)
            raise DataSetRefused(f"there is no run {name!r} to go on with; `modelctl batch` without --resume starts one") from None

    def pin(self, pinned: Pinned) -> Pinned:
        """`pinned`, or what an earlier attempt has pinned."""
        return Pinned.from_json(self._once("plan", pinned.to_json()))

    def pinned(self) -> Pinned | None:
        """What is pinned; None before that."""
        try:
            return Pinned.from_json(self._get("plan"))
        except ObjectNotFound:
            return None

    def list_shards(self, shards: Sequence[Mapping[str, int]]) -> None:
        """Writes what the map walks over; the same plan has the same shards."""
        self._once("shards", orjson.dumps(shards))

    def why(self, execution: str) -> Iterator[dict[str, str]]:
        """`Error` and `Cause` of each shard that failed under an execution."""
        for key in self._bucket.list(f"{self.failures(execution)}/"):
            found = orjson.loads(_body(self._bucket, key))
            yield orjson.loads(found) if isinstance(found, str) else found

    def _once(self, name: str, body: bytes) -> bytes:
        """What is under `name`: `body`, unless there was something."""
        try:
            self._bucket.put(f"{self._folder}/{name}.json", body)
        except PreconditionFailed:
            return self._get(name)
        return body

    def _get(self, name: str) -> bytes:
        return _body(self._bucket, f"{self._folder}/{name}.json")


def file_system(environ: Mapping[str, str]) -> Any:
    """Of S3, by the addresses and credentials that Lambda and the AWS SDKs name."""
    from pyarrow.fs import S3FileSystem  # noqa: PLC0415 - takes a while, and not every step needs it

    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    elsewhere = {"endpoint_override": urlsplit(endpoint).netloc, "scheme": urlsplit(endpoint).scheme} if endpoint else {}
    return S3FileSystem(region=environ.get("AWS_REGION", "us-east-1"), **elsewhere)


def path_of(uri: str) -> str:
    """As pyarrow has it: bucket and key, without a slash at the end."""
    return uri.removeprefix("s3://").rstrip("/")


def read_plan(files: Any, pinned: Pinned) -> Plan:
    """The plan that lies where the output will. Raises `DataSetError`, `FileNotFoundError`."""
    with files.open_input_stream(f"{path_of(pinned.request.output)}/plan.json") as stream:
        return Plan.from_json(stream.read())


@contextmanager
def refusing() -> Iterator[None]:
    """Makes `DataSetRefused` of what no other attempt would change, and lets pass what another may."""
    try:
        yield
    except (DataSetError, FileNotFoundError) as error:
        raise DataSetRefused(str(error)) from error
    except ServeError as error:
        if error.retry_after is not None:
            raise
        raise DataSetRefused(str(error)) from error
    except OSError as error:  # as pyarrow tells of S3
        if "ACCESS_DENIED" not in str(error):
            raise
        advice = "the function's role, the bucket's policy or its key doesn't allow it"
        raise DataSetRefused(f"S3 refused: {error}; {advice}") from error


def _body(bucket: S3Bucket, key: str) -> bytes:
    found = bucket.get(key)
    if found is None:  # only where an ETag was sent
        raise StoreUnavailable(key, "S3 answered nothing")
    return found.body


def _are_bindings(columns: object) -> bool:
    """An input's name to a column's, or to a list of them."""
    return isinstance(columns, dict) and all(isinstance(each, str | list) for each in columns.values())


def _short(document: Mapping[str, Any]) -> str:
    return orjson.dumps(document).decode()[:300]
