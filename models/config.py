"""What a model.toml may say; the stacks and modelctl read it here, so both refuse the same mistakes in the same words."""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

__all__ = [
    "LOWER_IS_BETTER",
    "METRICS",
    "METRICS_OF_A_CLASS",
    "MODELS",
    "CompressConfig",
    "DataConfig",
    "EvaluateConfig",
    "FunctionConfig",
    "Gate",
    "GpuConfig",
    "LoadingConfig",
    "ModelConfig",
    "ModelConfigError",
    "ParityConfig",
    "ServingConfig",
]

MODELS = Path(__file__).parent
METRICS = {
    "classification": (
        *("accuracy", "precision", "recall", "f1", "precision_micro", "recall_micro", "f1_micro"),
        *("roc_auc", "log_loss", "calibration_error"),
    ),
    "regression": ("mae", "mse", "rmse", "r2", "error_p50", "error_p90"),
    "clustering": ("silhouette", "davies_bouldin"),
    "custom": (),
}
"""What a model is scored by on held-out rows, and gates may name, by task."""
METRICS_OF_A_CLASS = ("precision", "recall", "f1")
"""What gates may name with a class, as in `recall[malignant]`."""
LOWER_IS_BETTER = frozenset({"mae", "mse", "rmse", "error_p50", "error_p90", "davies_bouldin", "log_loss", "calibration_error"})
"""Of the metrics; of all others more is better."""
NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_GATE = re.compile(r"\s*([a-z][a-z0-9_]*)(?:\[(.+)\])?\s*(>=|<=)\s*([^\]]*\S)\s*", re.DOTALL)
_RELATIVE = re.compile(r"production\s*([+-]\s*\d\S*)?")


class ModelConfigError(ValueError):
    """A model.toml that can't be used: the key, what was found, what was expected."""

    def __init__(self, file: Path, problems: list[tuple[str, object, str]]) -> None:
        lines = [f"  {key}: found {found!r}; expected: {expected}" for key, found, expected in problems]
        super().__init__("\n".join([f"{file} can't be used:", *lines]))
        self.problems = problems


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Gate(_Section):
    """A bound on a held-out metric, written as in `f1 >= 0.9`, `recall[malignant] >= 0.95` or `f1 >= production - 0.005`."""

    metric: str
    of: str | None = None
    """The class that it is about; None is all of them."""
    operator: Literal[">=", "<="]
    relative: bool = False
    """Whether the bound moves with the metric of the version that `production` names."""
    limit: float
    """The bound, or what is added to production's."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ValueError` for anything but `METRIC >= BOUND` or `METRIC <= BOUND`.

        METRIC is a name, or one with a class as in `recall[malignant]`; BOUND a number, `production`, or that plus or minus a number.
        """
        match = _GATE.fullmatch(text)
        if match is None:
            raise ValueError('a gate such as "f1 >= 0.9", "mae <= 45", "recall[malignant] >= 0.95" or "f1 >= production - 0.005"')
        metric, of, operator, bound = match.groups()
        relative = _RELATIVE.fullmatch(bound)
        number = bound if relative is None else (relative[1] or "+0")
        try:
            limit = float(re.sub(r"\s", "", number))
        except ValueError:
            limit = math.nan
        if not math.isfinite(limit):
            raise ValueError(f'a number after {operator} in "{text}", or `production`, alone or with a number as in "production - 0.005"')
        if of is not None and metric not in METRICS_OF_A_CLASS:
            raise ValueError(f'{", ".join(METRICS_OF_A_CLASS)} of a class instead of {metric} in "{text}"')
        if relative and (operator == "<=") != (metric in LOWER_IS_BETTER):
            better = "less" if operator == ">=" else "more"
            raise ValueError(f'the other direction than {operator} in "{text}": of {metric} {better} is better')
        return cls.model_validate({"metric": metric, "of": of, "operator": operator, "relative": bool(relative), "limit": limit})

    @property
    def measured(self) -> str:
        """What it bounds: `f1`, or of a class `f1[apple]`."""
        return self.metric if self.of is None else f"{self.metric}[{self.of}]"

    def holds(self, value: float, production: float | None = None) -> bool:
        """A relative gate holds where production has no value, and also where only float noise keeps it from its bound."""
        if self.relative and production is None:
            return True
        bound = self.bound(production)
        near = self.relative and math.isclose(value, bound, rel_tol=1e-9, abs_tol=1e-12)
        return near or (value >= bound if self.operator == ">=" else value <= bound)

    def bound(self, production: float | None) -> float:
        """What the value is held against; a relative gate's margin alone where production has no value."""
        return self.limit + production if self.relative and production is not None else self.limit

    def __str__(self) -> str:
        if not self.relative:
            return f"{self.measured} {self.operator} {_plain(self.limit)}"
        margin = f" {'-' if self.limit < 0 else '+'} {_plain(abs(self.limit))}" if self.limit else ""
        return f"{self.measured} {self.operator} production{margin}"


class DataConfig(_Section):
    """How the rows are split before anything is fitted."""

    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Share of the rows that training never sees."""
    seed: int = 0


class ParityConfig(_Section):
    """How far the ONNX model may be from the original on held-out rows."""

    disagreement: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Largest share of rows whose label may differ."""
    tolerance: Annotated[float, Field(ge=0)] = 1e-4
    """Largest difference of a number, relative to the larger of 1 and its magnitude."""


class EvaluateConfig(_Section):
    """What is looked at beyond the metrics."""

    slices: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Columns by whose values the held-out rows are scored apart; without any those of text or truth with few values."""


class CompressConfig(_Section):
    """What `modelctl compress` may take for a smaller model."""

    metric: str | None = None
    """What the drop is measured in; None is the first that gates name, or else the first of the task."""
    max_drop: Annotated[float, Field(ge=0)] = 0.01
    """How much worse than its parent a version may be on held-out rows, in the metric's own unit."""


class FunctionConfig(_Section):
    """The Lambda function of a model; AWS's limits hold."""

    memory: Annotated[int, Field(ge=256, le=10_240)] = 1769
    """MB; 1,769 is one vCPU. New accounts may be limited to 3,008."""
    timeout: Annotated[int, Field(ge=2, le=29)] = 29
    """Seconds; API Gateway waits for 29."""
    ephemeral_storage: Annotated[int, Field(ge=512, le=10_240)] = 512
    """MB of /tmp; a model passes through it."""
    architecture: Literal["x86_64", "arm64"] = "x86_64"
    provisioned_concurrency: Annotated[int, Field(ge=0)] = 0
    """Environments kept warm, and paid for, at all times."""
    reserved_concurrency: Annotated[int, Field(ge=0)] | None = None
    snap_start: bool = False

    @model_validator(mode="after")
    def _excludes(self) -> Self:
        if self.snap_start and self.provisioned_concurrency:
            raise ValueError("snap_start or provisioned_concurrency, not both (AWS refuses the pair)")
        if self.snap_start and self.ephemeral_storage > 512:
            raise ValueError("ephemeral_storage = 512 with snap_start (AWS refuses more)")
        if self.reserved_concurrency is not None and self.provisioned_concurrency > self.reserved_concurrency:
            raise ValueError("provisioned_concurrency at most reserved_concurrency")
        return self


class GpuConfig(_Section):
    """How Triton runs a model whose `target` is `gpu`; ignored for any other, so that one line moves a model."""

    mode: Literal["realtime", "async"] = "realtime"
    """`realtime` answers at once, from one endpoint that all such models share; `async` takes jobs on an endpoint of its own, which
    costs nothing while there are none."""
    max_batch: Annotated[int, Field(ge=0, le=4096)] | None = None
    """Rows that run at once, over requests too; 0 runs each request by itself. None is 32 where every tensor's first dimension is
    dynamic, or else 0; an `async` model's is always 0."""
    preferred_batch_sizes: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] = ()
    """Batches that need not wait for more rows."""
    queue_delay: Annotated[int, Field(ge=0, le=1_000_000)] = 500
    """Microseconds that a request may wait for others to fill a batch."""
    instance_count: Annotated[int, Field(ge=1, le=16)] = 1
    """Copies of the model on each GPU; they run at the same time."""
    tensorrt: bool = False
    """Runs the parts that TensorRT takes in FP16: faster, less exact, and minutes to load."""
    instance_type: Annotated[str, Field(pattern=r"ml\.[a-z0-9-]+\.[a-z0-9]+")] | None = None
    """Of an `async` model's endpoint; None is the deployment's `gpu_instance_type`."""
    max_instances: Annotated[int, Field(ge=1, le=100)] = 1
    """Of an `async` model's endpoint; it has none while there are no jobs."""

    @model_validator(mode="after")
    def _fits_mode(self) -> Self:
        if self.mode == "async" and (self.max_batch or self.preferred_batch_sizes):
            raise ValueError('neither max_batch nor preferred_batch_sizes with mode = "async", where each job runs by itself')
        if self.mode == "realtime" and (self.instance_type or self.max_instances != 1):
            raise ValueError(
                'neither instance_type nor max_instances with mode = "realtime", whose models share one endpoint: '
                "gpu_instance_type and gpu_max_instances in stacks/settings.py"
            )
        if self.preferred_batch_sizes and (self.max_batch is None or max(self.preferred_batch_sizes) > self.max_batch):
            raise ValueError("preferred_batch_sizes that are at most max_batch, which must be set")
        return self


class LoadingConfig(_Section):
    """How the function opens the model; ignored where `target` is `gpu`. What isn't set is measured when it is built."""

    format: Literal["auto", "onnx", "optimized", "external", "ort"] = "auto"
    """`auto` is the fastest to a first answer whose runs take at most 1.1 times as long as plain ONNX's, which is `onnx`."""
    prepack: bool | None = None
    """Whether weights are arranged for the CPU at each load: slower to load, mostly faster to run. None is whichever is fastest."""
    cpu: Literal["any", "native"] = "any"
    """`native` arranges them when it is built, for CPUs like that machine's; a function on another one opens plain ONNX."""

    @property
    def asked(self) -> str | None:
        """What differs from measuring all that any CPU opens, in words of model.toml; None where nothing does."""
        said = (f"{name} = {str(value).lower()}" for name, value in self.model_dump(exclude_defaults=True).items())
        return ", ".join(said) or None

    @property
    def insists(self) -> bool:
        """Whether a way is named, which is taken however long its runs take."""
        return self.format != "auto" or self.prepack is not None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.cpu == "native" and self.format == "onnx":
            raise ValueError('another format than "onnx" with cpu = "native": plain ONNX is for any CPU')
        return self


class ServingConfig(_Section):
    """How requests are answered."""

    alias_check_seconds: Annotated[float, Field(ge=0, le=3600, strict=False)] = 30.0
    """How old the knowledge of an alias may be; a promotion is served within it."""
    nan: Literal["accept", "refuse"] = "accept"
    """What to do with NaN and infinities in floating-point inputs."""


class ModelConfig(_Section):
    """One folder of models/."""

    name: str
    task: Literal["classification", "regression", "clustering", "custom"]
    """`custom` is a graph with inputs and outputs of its own, which nothing scores."""
    description: str = ""
    target: Literal["lambda", "gpu"] = "lambda"
    """What runs it: ONNX Runtime in its function, or Triton on a SageMaker endpoint behind its function."""
    labels: tuple[str, ...] = Field(default=(), strict=False)
    """Class names in the order of the model's probabilities."""
    gates: tuple[Gate, ...] = Field(default=(), strict=False)
    data: DataConfig = DataConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    parity: ParityConfig = ParityConfig()
    compress: CompressConfig = CompressConfig()
    function: FunctionConfig = FunctionConfig()
    gpu: GpuConfig = GpuConfig()
    loading: LoadingConfig = LoadingConfig()
    serving: ServingConfig = ServingConfig()

    @property
    def realtime(self) -> bool:
        """Whether it is on the endpoint that heavy models share."""
        return self.target == "gpu" and self.gpu.mode == "realtime"

    @property
    def asynchronous(self) -> bool:
        """Whether it takes jobs on an endpoint of its own."""
        return self.target == "gpu" and self.gpu.mode == "async"

    @model_validator(mode="after")
    def _fits_target(self) -> Self:
        if self.target == "gpu" and (self.function.architecture != "x86_64" or self.function.ephemeral_storage != 512):
            raise ValueError('no architecture and no ephemeral_storage with target = "gpu": its function only passes requests on')
        return self

    @field_validator("gates", mode="before")
    @classmethod
    def _parse_gates(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, list) or not all(isinstance(gate, str) for gate in value):
            raise ValueError('a list of gates such as ["f1 >= 0.9"]')
        gates = tuple(Gate.parse(gate) for gate in value)
        task = info.data.get("task")  # none when it is wrong itself, which is told already
        labels = info.data.get("labels")
        for gate in gates:
            if task and gate.metric not in METRICS[task]:
                raise ValueError(f"a metric of {task} instead of {gate.metric}: {', '.join(METRICS[task])}")
            if labels and gate.of is not None and gate.of not in labels:
                raise ValueError(f"a class of labels instead of {gate.of!r}: {', '.join(labels)}")
        return gates

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises `ModelConfigError` naming every key that is wrong."""
        file = folder / "model.toml"
        if not NAME.fullmatch(folder.name):
            expected = "a lower-case letter, then lower-case letters, digits or _, at most 48 characters in all"
            raise ModelConfigError(file, [("(folder name)", folder.name, expected)])
        try:
            document = tomllib.loads(file.read_text("utf-8"))
        except FileNotFoundError:
            raise ModelConfigError(file, [("(file)", "nothing", "a model.toml; `modelctl new NAME` writes one")]) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ModelConfigError(file, [("(file)", str(error), "TOML in UTF-8")]) from None
        if "name" in document:
            raise ModelConfigError(file, [("name", document["name"], "no such key: the folder's name is the model's name")])
        try:
            return cls.model_validate({"name": folder.name, **document})
        except ValidationError as error:
            raise ModelConfigError(file, [_problem(problem) for problem in error.errors()]) from None

    @classmethod
    def load_all(cls, root: Path = MODELS) -> tuple[Self, ...]:
        """Every folder of `root` that has a model.toml, by name."""
        return tuple(cls.load(file.parent) for file in sorted(root.glob("*/model.toml")))


def _plain(number: float) -> str:
    """The shortest text that is the same number again."""
    return short if float(short := f"{number:g}") == number else repr(number)


def _problem(error: Any) -> tuple[str, object, str]:
    key = ".".join(str(part) for part in error["loc"]) or "(file)"
    if error["type"] == "extra_forbidden":
        return key, error["input"], "no such key; docs/models.md lists all of them"
    if error["type"] == "missing":
        return key, "nothing", "this key; docs/models.md says what it may be"
    return key, error["input"], error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
