from pathlib import Path

import pytest

from modelserve.endpoints import Response
from tests.hostile.case import Case
from tests.hostile.wire import Wire
from tests.triton.deployment import Pair
from tests.triton.requests import routes, valid
from tests.triton.samples import GPU, Sample, graphs

HEADERS = {"Content-Type": "application/json"}


class Scripted(Wire):
    """Answers in turn, and keeps what it was asked."""

    def __init__(self, *answers: Response) -> None:
        self.answers = list(answers)
        self.asked: list[Case] = []

    def send(self, case: Case) -> Response:
        self.asked.append(case)
        return self.answers.pop(0)


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    return graphs(tmp_path)


@pytest.fixture
def pair(samples: list[Sample]) -> Pair:
    return Pair(sample=samples[0], names={f"numbers{GPU}": "numbers"})


def test_the_twin_is_asked_the_same_under_its_own_name(pair: Pair):
    wire = Scripted(*[Response(200, HEADERS, b"{}")] * 4)
    inferred, asked = next(valid(pair.sample, 1, 0)), next(routes(pair.sample))
    for case in (inferred, asked):
        assert pair.compare(wire, case)[1] == ""
    assert [each.path or "infer" for each in wire.asked] == [
        "infer",
        "/v2/models/numbers_gpu/infer",
        "/v2/models/numbers",
        "/v2/models/numbers_gpu",
    ]
    assert {each.body for each in wire.asked} == {inferred.body, asked.body}


def test_an_answer_of_both_that_is_no_answer_is_a_problem(pair: Pair):
    case = next(valid(pair.sample, 1, 0))
    away = Response(503, HEADERS, b'{"error": "away"}')
    assert "status 503 of the function itself" in pair.compare(Scripted(away, away), case)[1]
    cut = Response(200, HEADERS, b"{")
    assert "no answer of the protocol" in pair.compare(Scripted(Response(200, HEADERS, b"{}"), cut), case)[1]


def test_a_seed_gives_the_same_requests_and_another_one_others(samples: list[Sample]):
    drawn = [[(case.name, case.headers, case.body) for case in valid(samples[0], 9, seed)] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_more_rows_than_a_batch_takes_are_among_what_is_valid(samples: list[Sample]):
    raw = [len(case.body) for case in valid(samples[0], 9, 1) if case.name == "nothing but data"]
    assert max(raw) > 8 * min(raw)  # the batch of the first graph


def test_only_the_twins_versions_have_an_archive(samples: list[Sample], tmp_path: Path):
    (_, earlier), (_, later) = samples[0].versions("numbers", tmp_path)
    assert (set(earlier), set(later), earlier != later) == ({"model.onnx"}, {"model.onnx"}, True)
    for draft, files in samples[0].versions(f"numbers{GPU}", tmp_path):
        assert (set(files), draft.max_batch, draft.name) == ({"model.onnx", "model.tar.gz"}, 8, "numbers_gpu")
