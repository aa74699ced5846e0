"""What a function is told by its environment; the stacks write it and the functions read it, so names can't drift."""

from __future__ import annotations

from collections.abc import Mapping

from ._typing import Any, Self
from .record import Record

__all__ = [
    "AUTHORIZER_CACHE_SECONDS",
    "BEARER_PATTERN",
    "STREAM_FILTER_PATTERN",
    "AuthorizerSettings",
    "BatchSettings",
    "CatalogSettings",
    "DataSetSettings",
    "GatewaySettings",
    "JobsSettings",
    "PredictSettings",
    "SettingsError",
    "StreamSettings",
]

BEARER_PATTERN = r"^Bearer sox\.([a-z][a-z0-9-]{0,31})\.[A-Za-z0-9_-]{43}$"
"""An Authorization header with a client key: API Gateway refuses any other before a function runs; the authorizer reads it by the same."""
STREAM_FILTER_PATTERN = r"^(.+) (>=|<=) (-?[0-9]+(?:\.[0-9]+)?)$"
"""Which predictions of a stream are told, such as `fraud >= 0.8`: a label and its probability, or an output of one number a record."""
AUTHORIZER_CACHE_SECONDS = 60
"""How long API Gateway goes by what the authorizer said of a key, and so how long a revoked one may go on."""


class SettingsError(ValueError):
    """An environment variable is missing or can't be read."""

    def __init__(self, variable: str, found: str | None, expected: str) -> None:
        what = "is not set" if found is None else f"is {found!r}"
        super().__init__(f"environment variable {variable} {what}; expected {expected}; deploy the stack again")


class _Environment(Record):
    """A record whose field `model_name` is the environment variable `MODEL_NAME`."""

    def to_env(self) -> dict[str, str]:
        """The variables that `from_env` reads back to an equal value."""
        return {name.upper(): _write(value) for name, value in vars(self).items()}

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Raises `SettingsError` for a variable that is missing or of another type."""
        values: dict[str, Any] = {}
        for name, kind in cls.__annotations__.items():
            variable = name.upper()
            text = environ.get(variable)
            if text is not None:
                values[name] = _read(variable, text, kind)
            elif not hasattr(cls, name):
                raise SettingsError(variable, None, kind)
        return cls(**values)


def _write(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _read(variable: str, text: str, kind: str) -> object:
    try:
        match kind:
            case "int":
                return int(text)
            case "float":
                return float(text)
            case "tuple[str, ...]":
                return tuple(part for part in text.split(",") if part)
            case _:
                return text
    except ValueError:
        raise SettingsError(variable, text, f"{kind}") from None


class PredictSettings(_Environment):
    """One model's function."""

    model_name: str
    model_bucket: str
    model_alias: str = "production"
    """The alias that answers when a path names no version."""
    alias_check_seconds: float = 30.0
    """How old the knowledge of an alias may be before a request checks it again."""
    deadline_seconds: float = 25.0
    """Longest time one run of the graph may take."""
    nan_inputs: str = "accept"
    """`accept` or `refuse` NaN and infinities in floating-point inputs."""
    max_loaded_versions: int = 2
    """Versions kept in memory beside the one that `model_alias` names."""
    max_body_bytes: int = 16 * 2**20
    """Largest request body after decompression; JSON takes up to 37 times as much memory once it is read."""
    cors_origin: str = ""
    """The origin that browsers may call from; empty answers no CORS header."""
    signing_key_arn: str = ""
    """The KMS key that must have signed a manifest; empty asks for no signature."""
    session_backend: str = "native"
    """`native` drives ONNX Runtime through its C API, `binding` through its Python binding."""
    job_bucket: str = ""
    """Where requests and results of jobs are kept; empty where there are no jobs."""
    job_table: str = ""
    """Where jobs are kept."""
    high_queue_url: str = ""
    low_queue_url: str = ""
    high_plans: tuple[str, ...] = ()
    """Plans whose clients' jobs go to the queue of high priority."""
    job_days: int = 7
    """How long a job is kept."""
    upload_megabytes: int = 256
    """Size of the largest upload."""
    max_json_bytes: int = 3008 * 2**20 // 80
    """Largest JSON of a job's request, without binary data after it: as much as the function that runs jobs can read."""
    metrics_namespace: str = "ServerlessOnnx"
    service: str = "serverless-onnx"
    log_level: str = "INFO"


class GatewaySettings(_Environment):
    """The function of one model that a SageMaker endpoint runs; where a name is that of `PredictSettings`, so is its meaning."""

    model_name: str
    model_bucket: str
    endpoint_name: str
    job_bucket: str = ""
    """Where requests and answers of an asynchronous endpoint are kept; empty for one that answers at once."""
    model_alias: str = "production"
    alias_check_seconds: float = 30.0
    deadline_seconds: float = 25.0
    nan_inputs: str = "accept"
    max_loaded_versions: int = 2
    """Versions known beside the one that `model_alias` names."""
    max_body_bytes: int = 16 * 2**20
    cors_origin: str = ""
    signing_key_arn: str = ""
    metrics_namespace: str = "ServerlessOnnx"
    service: str = "serverless-onnx"
    log_level: str = "INFO"


class JobsSettings(_Environment):
    """The function that tells clients what became of their jobs; where a name is that of `PredictSettings`, so is its meaning."""

    job_bucket: str
    job_table: str
    upload_megabytes: int = 256
    job_days: int = 7
    cors_origin: str = ""
    metrics_namespace: str = "ServerlessOnnx"
    service: str = "serverless-onnx"
    log_level: str = "INFO"


class BatchSettings(_Environment):
    """The functions that run jobs, shards of data sets and records of streams; shared names mean what they do in `PredictSettings`."""

    model_names: tuple[str, ...]
    """Models that run within the function."""
    model_bucket: str
    strict_models: tuple[str, ...] = ()
    """Those that refuse NaN and infinities."""
    model_alias: str = "production"
    alias_check_seconds: float = 30.0
    signing_key_arn: str = ""
    session_backend: str = "native"
    max_loaded_models: int = 8
    job_bucket: str = ""
    job_table: str = ""
    job_attempts: int = 5
    """How often a message is received before it waits in the dead-letter queue."""
    job_days: int = 7
    max_body_bytes: int = 256 * 2**20
    """Largest body of a job after decompression."""
    max_json_bytes: int = 3008 * 2**20 // 80
    metrics_namespace: str = "ServerlessOnnx"
    service: str = "serverless-onnx"
    """Also the source of the events that tell of predictions."""
    log_level: str = "INFO"


class DataSetSettings(_Environment):
    """What the functions of data sets are told beside `BatchSettings`."""

    data_bucket: str
    """Where a run keeps what it has decided, and uploads start one."""
    data_set_buckets: tuple[str, ...] = ()
    """Other buckets that a run may read from and write to."""
    data_set_shard_megabytes: int = 64

    @property
    def buckets(self) -> tuple[str, ...]:
        """All that a run may use."""
        return (self.data_bucket, *self.data_set_buckets)


class StreamSettings(_Environment):
    """What the function that scores a stream is told beside `BatchSettings`."""

    columns: str = "{}"
    """JSON: by an input's name the field of a record that it is read from, or a list of them; one left out has a field of its name."""
    tell: str = ""
    """Which predictions are told, as `STREAM_FILTER_PATTERN` says; empty tells all of them."""


class CatalogSettings(_Environment):
    """The function that answers for the server as a whole."""

    model_names: tuple[str, ...]
    model_bucket: str
    model_alias: str = "production"
    cors_origin: str = ""
    metrics_namespace: str = "ServerlessOnnx"
    service: str = "serverless-onnx"


class AuthorizerSettings(_Environment):
    """The function that says whose key it is, and which models that client may call."""

    client_table: str
    metrics_namespace: str = "ServerlessOnnx"
    service: str = "serverless-onnx"
