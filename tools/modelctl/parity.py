"""Compares the ONNX model with the estimator it was made from, on rows that neither has seen."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.config import ParityConfig
from modelserve.manifest import Manifest, Parity
from tools.modelctl.errors import BuildFailed

__all__ = ["Answers", "apart", "compare", "failures", "original", "row_wise", "run", "run_each", "too_slow"]

MOST = float(np.finfo(np.float64).max)
"""JSON has no infinity."""
Answers = dict[str, NDArray[Any]]
"""Tensors by name, a row of each for every row."""
_ROWS = 8  # enough to tell, of a model that takes a second for each
_SECONDS = 600.0
"""Of one run. A graph that answers the example may never end for as many rows as are held out."""
_NOISE = ParityConfig(disagreement=0.0, tolerance=1e-5)  # of sums in another order, and of nothing else


def run(model: Path, inputs: Answers) -> Answers:
    """What ONNX Runtime answers, by output. Raises `BuildFailed` when it can't load or run the model, or that takes too long."""
    return run_each(model, [inputs])[0]


def run_each(model: Path, requests: Iterable[Answers]) -> list[Answers]:
    """One after the other, by one session. Raises `BuildFailed` as `run` does."""
    try:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        with ThreadPoolExecutor(1) as thread:
            call = partial(_answers, thread, model.parent.name, session, names)
            return [dict(zip(names, call(inputs), strict=True)) for inputs in requests]
    except BuildFailed:
        raise
    except Exception as error:  # ONNX Runtime's own have no common base
        raise BuildFailed(
            f"{model.parent.name} was converted, but ONNX Runtime can't run it: {type(error).__name__}: {str(error).strip()}. "
            f"docs/models.md lists what doesn't convert; change the estimator in models/{model.parent.name}/train.py"
        ) from error


def too_slow(name: str, rows: int, seconds: float, *, otherwise: str = "") -> BuildFailed:
    """That the model did not answer so many rows at once."""
    return BuildFailed(
        f"{name} did not answer {rows:,} rows at once within {seconds:g} s; "
        f"take out of its graph what runs for longer with them than with one, such as a Loop{otherwise}"
    )


def _answers(
    thread: ThreadPoolExecutor, name: str, session: onnxruntime.InferenceSession, outputs: list[str], inputs: Answers
) -> list[NDArray[Any]]:
    """Here Python only waits, so that Ctrl-C ends the run. Raises `BuildFailed` for one that is too slow."""
    options = onnxruntime.RunOptions()
    options.log_severity_level = 4  # what fails is raised
    answers = thread.submit(session.run, outputs, inputs, options)
    try:
        found: list[NDArray[Any]] = answers.result(_SECONDS)
    except TimeoutError:
        rows = max(map(len, inputs.values()), default=0)
        raise too_slow(name, rows, _SECONDS, otherwise=", or hold out fewer rows ([data] in model.toml)") from None
    finally:
        options.terminate = True  # of a run that is still going
    return found


def apart(model: Path, inputs: Answers, config: ParityConfig) -> bool:
    """Whether a row is answered alone as it is among others, within what parity allows. Raises `BuildFailed` as `run` does."""
    some = {name: values[:_ROWS] for name, values in inputs.items()}
    rows = [{name: values[row : row + 1] for name, values in some.items()} for row in range(len(next(iter(some.values()))))]
    together, *alone = run_each(model, [some, *rows])
    joined = {name: np.concatenate([each[name] for each in alone]) for name in together}
    return compare(together, joined, config).passed


def row_wise(model: Path, manifest: Manifest, inputs: Answers) -> bool:
    """Whether rows of several requests may run as one, each answered as alone but for float noise. Raises `BuildFailed` as `run` does."""
    return all(spec.shape[:1] == (-1,) for spec in (*manifest.inputs, *manifest.outputs)) and apart(model, inputs, _NOISE)


def original(task: str, estimator: Any, X: Any) -> Answers:
    """What the estimator itself answers, under the names that the ONNX model gives it. Raises `BuildFailed` for an estimator that can't."""
    if hasattr(estimator, "answers"):
        found: Answers = estimator.answers(X)
        return found
    method = {"classification": "predict_proba", "clustering": "transform"}.get(task)
    if method and not hasattr(estimator, method):
        raise BuildFailed(
            f"{type(estimator).__name__} has no {method}(), which {task} needs; "
            "wrap a classifier in CalibratedClassifierCV, and cluster with KMeans or MiniBatchKMeans"
        )
    answer = np.asarray(estimator.predict(X))
    if task == "regression":
        return {"prediction": answer.reshape(len(answer), -1)}
    if task == "clustering":
        return {"label": answer, "distances": estimator.transform(X)}
    return {"label": answer, "probabilities": estimator.predict_proba(X)}


def compare(expected: Answers, found: Answers, config: ParityConfig) -> Parity:
    """Numbers differ relative to the larger of 1 and their magnitude; a NaN on one side only is the largest difference there is."""
    disagreement = float(np.mean(expected["label"].astype(str) != found["label"].astype(str))) if "label" in expected else 0.0
    largest = max((_largest(expected[name], found[name]) for name in expected if name != "label"), default=0.0)
    return Parity(
        rows=len(next(iter(expected.values()))),
        disagreement=disagreement,
        largest_difference=largest,
        passed=disagreement <= config.disagreement and largest <= config.tolerance,
    )


def failures(parity: Parity | None) -> list[str]:
    """A sentence when the two differ by more than model.toml's [parity] allows."""
    if parity is None or parity.passed:
        return []
    found = f"{parity.disagreement:.2%} of {parity.rows} labels differ, and numbers by up to {parity.largest_difference:.2g}"
    return [f"the ONNX model is not the one that was trained: {found}; [parity] in model.toml allows less"]


def _largest(expected: NDArray[Any], found: NDArray[Any]) -> float:
    if expected.shape != found.shape:
        return MOST
    if expected.dtype.kind in "OSU":  # text, of a custom model
        return 0.0 if np.array_equal(expected.astype(str), found.astype(str)) else MOST
    wide = expected.astype(np.float64)
    difference = np.abs(wide - found.astype(np.float64)) / np.maximum(1.0, np.abs(wide))
    both_missing = np.isnan(wide) & np.isnan(found)
    difference = np.where(both_missing, 0.0, np.nan_to_num(difference, nan=MOST, posinf=MOST))
    return float(np.max(difference, initial=0.0))
