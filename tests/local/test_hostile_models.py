"""Models that harm what runs them, promoted all the same: an error in time, and the same process goes on answering.

Not here, because nothing prevents it: one operator that computes beyond the function's timeout, which ends the process.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import pytest

from tests.local.releases import Served
from tests.unit.modelserve.graphs import endless, filled, folded

pytestmark = [
    pytest.mark.xdist_group("release"),
    pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program"),
]
FORTY_GIGABYTES = 10_000_000_000
"""Elements of FP32."""


class Invoked:
    """A model's function as a caller inside AWS has it."""

    def __init__(self, model: Served) -> None:
        self._model = model
        self._client: Any = model.cloud.client("lambda")

    def __call__(self, *x: float, datatype: str = "INT64") -> dict[str, Any]:
        shape = [1, len(x)] if datatype == "FP32" else [len(x)]
        document = {"inputs": [{"name": "x", "datatype": datatype, "shape": shape, "data": list(x)}]}
        answer = self._client.invoke(FunctionName=self._model.function, Payload=json.dumps(document).encode())
        found: dict[str, Any] = json.loads(answer["Payload"].read())
        return found

    def refused(self, kind: str, *x: float) -> str:
        """The message of an error of that name."""
        answer = self(*x)
        assert answer.get("errorType") == kind, answer
        return str(answer["errorMessage"])


def data(answer: dict[str, Any]) -> Any:
    assert "outputs" in answer, answer
    return answer["outputs"][0]["data"]


def version(answer: dict[str, Any]) -> Any:
    assert "model_version" in answer, answer
    return answer["model_version"]


def failures(model: Served) -> list[str]:
    return [line["message"] for line in model.log if line.get("location") == "loader" and line.get("level") == "ERROR"]


def test_an_endless_loop_ends_at_the_deadline_and_the_same_process_answers_the_next(served) -> None:
    """Between two of its operators: ONNX Runtime looks whether to stop nowhere else."""
    model = served("endless")
    model.release(endless())
    invoke = Invoked(model)

    assert data(invoke(0)) == [0]
    assert "did not answer within" in invoke.refused("DeadlineExceeded", 1)
    assert data(invoke(0)) == [0]
    assert model.processes == 1


def test_forty_gigabytes_are_refused_as_the_graph_runs_and_the_same_process_answers_the_next(served) -> None:
    model = served("greedy")
    model.release(filled())
    invoke = Invoked(model)

    assert data(invoke(2)) == [0.0, 0.0]
    for _ in range(2):
        assert "needs more memory for this input than its function has" in invoke.refused("InsufficientMemory", FORTY_GIGABYTES)
        assert data(invoke(3)) == [0.0] * 3
    assert model.processes == 1


def test_a_version_that_is_a_bomb_when_it_loads_or_is_first_run_leaves_the_old_one_serving(served) -> None:
    """The first computes twice 1 GB of constants, and the function has 1,769 MB; the second never ends on what it is warmed up with."""
    model = served("greedy")
    good = model.release(filled())
    invoke = Invoked(model)
    assert version(invoke(1)) == good
    processes = model.processes

    for bomb, reason in ((folded(250_000_000), "more memory to load"), (endless(on=0), "did not answer within")):
        model.release(bomb)
        assert version(invoke(1)) == good
        assert reason in failures(model)[-1]
    assert model.processes == processes


def test_a_bomb_that_is_the_only_version_is_told_until_another_is_promoted(served) -> None:
    model = served("cramped")
    model.release(folded(250_000_000))
    invoke = Invoked(model)

    assert "needs more memory to load than its function has" in invoke.refused("ModelNotReady", 1)
    model.release(filled())
    time.sleep(1)  # how long a failure is kept
    assert data(invoke(1)) == [0.0]
    assert model.processes == 1
