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

__all__ = ["DataSetRefused", "Pinned", "Request", "Run", "file_system", "path_of", "refusing"]

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_WRITTEN = ("data/", "errors/")
"""Folders of an output with files of the formats that are read."""
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
    etag: str | None = None
    """Of the upload that is meant; None takes what is there."""

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
        return cls(run=run, model=model, input=f"s3://{bucket}/{key}", output=output, etag=upload.get("etag"))

    def _check(self, data_bucket: str, buckets: Sequence[str]) -> None:
        for what, uri, folders in (("input", self.input, ("in/", "sets/", "out/")), ("output", self.output, ("out/",))):
            parts = urlsplit(uri)
            if parts.scheme != "s3" or not parts.netloc:
                raise DataSetRefused(f"{what} {uri!r:.300} is no address in S3; expected s3://BUCKET/PATH")
            if not {"", ".", ".."}.isdisjoint(path_of(uri).split("/")):
                raise DataSetRefused(f"{what} {uri} has an empty part, '.' or '..' in its path, which leads elsewhere; give it without")
            if parts.netloc == data_bucket:
                if not uri.removeprefix(f"s3://{data_bucket}/").startswith(folders):
                    raise DataSetRefused(f"{what} {uri} is not below {' or '.join(folders)} of the deployment's own bucket; put it there")
            elif parts.netloc not in buckets:
                raise DataSetRefused(
                    f"{what} {uri} is in a bucket that this deployment may not use; add {parts.netloc!r} to data_set_buckets "
                    f"of its settings in stacks/settings.py and deploy it (a bucket under a KMS key of its own can't be used), "
                    f"or use s3://{data_bucket}/{folders[0]}"
                )
        self._check_apart()

    def _check_apart(self) -> None:
        """Predictions must not be read as data."""
        inside, written = f"{self.input.rstrip('/')}/", tuple(self.output + folder for folder in _WRITTEN)
        if self.output.startswith(inside) or inside.startswith(written):
            raise DataSetRefused(
                f"output {self.output} and input {self.input} lie within each other, so that predictions would be read as data; "
                "give an output beside the input"
            )


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """What the first plan of a run decided, and every later step goes by: a promotion in between changes nothing."""

    request: Request
    alias: Alias
    shard_bytes: int

    def to_json(self) -> bytes:
        return orjson.dumps({**asdict(self), "alias": orjson.loads(self.alias.to_json())})

    @classmethod
    def from_json(cls, body: bytes) -> Pinned:
        document = orjson.loads(body)
        advice = "start a new run"
        alias = Alias.from_json(orjson.dumps(document["alias"]), what="the plan of the run", advice=advice)
        return cls(request=Request(**document["request"]), alias=alias, shard_bytes=document["shard_bytes"])


class Run:
    """The folder of one run in the bucket of data sets; what is in it is written once, so that every step can be done again."""

    def __init__(self, bucket: S3Bucket, run: str) -> None:
        self._bucket = bucket
        self._name = run
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
            raise DataSetRefused(f"there is no run {self._name!r} to go on with; `modelctl batch` without --resume starts one") from None

    def is_claimed(self) -> bool:
        """Whether there is something to go on with."""
        try:
            self._get("claim")
        except ObjectNotFound:
            return False
        return True

    def pin(self, pinned: Pinned) -> Pinned:
        """`pinned`, or what an earlier attempt has pinned."""
        return Pinned.from_json(self._once("pinned", pinned.to_json()))

    def pinned(self) -> Pinned | None:
        """What is pinned; None before that."""
        try:
            return Pinned.from_json(self._get("pinned"))
        except ObjectNotFound:
            return None

    def keep(self, plan: Plan) -> None:
        """Writes the plan that every shard goes by, and the list that the map walks over. Raises `DataSetRefused` for a second plan."""
        if self._once("plan", plan.to_json()) != plan.to_json():
            raise DataSetRefused(f"the files of run {self._name} have changed while it was planned; start a new run")
        self._once("shards", orjson.dumps([shard.to_dict() for shard in plan.shards]))

    def kept(self) -> tuple[Pinned, Plan]:
        """What is pinned, and the plan. Raises `DataSetRefused` before there is one, and `DataSetError`."""
        try:
            return Pinned.from_json(self._get("pinned")), Plan.from_json(self._get("plan"))
        except ObjectNotFound:
            raise DataSetRefused(f"run {self._name!r} has no plan; start it with `modelctl batch`") from None

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
    # An object of one piece is put by one request instead of three.
    return S3FileSystem(region=environ.get("AWS_REGION", "us-east-1"), allow_delayed_open=True, **elsewhere)


def path_of(uri: str) -> str:
    """As pyarrow has it: bucket and key, without a slash at the end."""
    return uri.removeprefix("s3://").rstrip("/")


@contextmanager
def refusing(*buckets: str) -> Iterator[None]:
    """Makes `DataSetRefused` of what no other attempt would change, and lets pass what another may.

    Paths in one of `buckets` are told as addresses.
    """
    try:
        yield
    except (DataSetError, FileNotFoundError) as error:
        raise DataSetRefused(re.sub(rf"(?<![\w./-])(?=({'|'.join(map(re.escape, buckets))})/)", "s3://", str(error))) from error
    except ServeError as error:
        if error.retry_after is not None:
            raise
        raise DataSetRefused(str(error)) from error
    except OSError as error:  # as pyarrow tells of S3
        if "ACCESS_DENIED" not in str(error):
            raise
        advice = "the function's role or the bucket's policy doesn't allow it, or the bucket is under a KMS key of its own"
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
