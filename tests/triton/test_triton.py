"""SageMaker's container contract against a real Triton; `make test-triton` makes the environment that these tests wait for."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import psutil
import pytest

from modelserve.endpoints import Response
from tests.hostile.draft import Draft, valid
from tests.hostile.targets import INDICES, NUMBERS, WORDS
from tests.triton.comparison import difference
from tests.triton.container import TritonContainer
from tests.triton.environment import Environment
from tests.triton.samples import GPU, Sample, graphs
from tests.triton.server import TritonServer
from tools.local.containers import LoadFailed, OnnxContainer

BINARY = "application/vnd.sagemaker-triton.binary+json;json-header-size="
MADE = Environment.made()
pytestmark = [
    pytest.mark.skipif(MADE is None, reason="no real Triton was set up here: make test-triton"),
    pytest.mark.xdist_group("triton"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[TritonServer]:
    assert MADE is not None
    with TritonServer(MADE) as server:
        yield server


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sample]:
    return {sample.name: sample for sample in graphs(tmp_path_factory.mktemp("graphs"))}


@pytest.fixture(scope="module")
def container(server: TritonServer) -> TritonContainer:
    return TritonContainer(server)


Loaded = Callable[[str], Path]


@pytest.fixture(scope="module")
def loaded(container: TritonContainer, samples: dict[str, Sample], tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """Loads a sample under its name, once; answers where its archive was unpacked."""

    @cache
    def load(name: str) -> Path:
        folder = unpacked(samples[name], tmp_path_factory.mktemp(name))
        container.load(name, folder)
        return folder

    return load


def unpacked(sample: Sample, folder: Path, version: int = -1) -> Path:
    """What SageMaker unpacks of a version that is published for Triton."""
    _, files = sample.versions(sample.name + GPU, folder)[version]
    to = folder / f"{sample.name}{version}"
    with tarfile.open(files["model.tar.gz"]) as archive:
        archive.extractall(to, filter="data")
    return to


def asked(container: TritonContainer | OnnxContainer, name: str, draft: Draft) -> Response:
    """The answer as a client of the protocol would be given it."""
    kind = f"{BINARY}{len(draft.text())}" if draft.binary else "application/json"
    status, content_type, body = container.invoke(name, kind, draft.body())
    size = content_type.removeprefix(BINARY)
    headers = {"Inference-Header-Content-Length": size} if size != content_type else {}
    return Response(status, headers, body)


def test_two_versions_of_a_model_answer_side_by_side_until_one_is_unloaded(
    container: TritonContainer, samples: dict[str, Sample], tmp_path: Path
):
    numbers = samples[NUMBERS.name]
    targets = {3.0: "numbers/versions/one/model.tar.gz", 2.0: "numbers/versions/two/model.tar.gz"}
    folders = {target: unpacked(numbers, tmp_path, version) for version, target in enumerate(targets.values())}
    for target, folder in folders.items():
        container.load(target, folder)
        assert container.loaded(target)
    for factor, target in targets.items():
        document = json.loads(asked(container, target, valid(NUMBERS)).body)
        (number,) = [found.name for found in folders[target].glob("*/[0-9]*")]
        assert (document["model_name"], document["model_version"]) == (target, number)
        assert document["outputs"][0]["data"] == [0.0, factor, 2 * factor]
    container.unload(targets[3.0])
    assert asked(container, targets[3.0], valid(NUMBERS)).status == 404
    assert asked(container, targets[2.0], valid(NUMBERS)).status == 200


def test_a_broken_archive_is_refused_and_neither_its_name_nor_the_server_suffers(
    server: TritonServer, container: TritonContainer, samples: dict[str, Sample], tmp_path: Path
):
    """Without what the stack tells the container, SageMaker would find the server unhealthy from here on."""
    right = unpacked(samples[NUMBERS.name], tmp_path)
    broken = Path(shutil.copytree(right, tmp_path / "broken"))
    next(broken.glob("*/*/model.onnx")).write_bytes(b"no graph")
    with pytest.raises(LoadFailed, match="INVALID_PROTOBUF"):
        container.load("late", broken)
    assert server.request("GET", "/ping")[0] == 200
    container.load("late", right)
    assert asked(container, "late", valid(NUMBERS)).status == 200
    with pytest.raises(LoadFailed, match="409"):
        container.load("late", right)


def test_a_model_that_fails_says_so_and_the_next_request_is_answered(
    container: TritonContainer, loaded: Loaded, samples: dict[str, Sample]
):
    loaded(INDICES.name)
    target = samples[INDICES.name].target
    failed = asked(container, INDICES.name, Draft(target, {"x": np.array([[9]])}))
    assert (failed.status, b"idx=9 must be within" in failed.body) == (400, True)
    assert json.loads(asked(container, INDICES.name, Draft(target, {"x": np.array([[2]])})).body)["outputs"][0]["data"] == [3.0]


def test_text_passes_as_json_and_as_binary_data_and_the_log_tells_nothing_of_requests(
    server: TritonServer, container: TritonContainer, loaded: Loaded
):
    loaded(WORDS.name)
    arrays = {"x": np.array([["naïve"], [""], ['数\n"\0']], object)}
    for binary in (False, True):
        answer = asked(container, WORDS.name, Draft(WORDS, arrays, binary=binary))
        assert json.loads(answer.body)["outputs"][0]["data"] == ["naïve", "", '数\n"\0']
    log = server.log.read_text(errors="replace")
    assert ("Started Sagemaker HTTPService" in log, "type: BYTES" in log, "naïve" in log) == (True, False, False)


@pytest.mark.parametrize("name", ["numbers", "pair", "kinds", "positions", "words"])
def test_the_stand_in_of_make_run_answers_as_triton_does(container: TritonContainer, loaded: Loaded, samples: dict[str, Sample], name: str):
    sample, stand_in = samples[name], OnnxContainer()
    stand_in.load(name, loaded(name))
    rng = np.random.default_rng(0)
    for rows in (1, 3, 40):
        draft = Draft(sample.target, _as_triton_has_it(sample, rng, rows), binary=True, binary_answer=True)
        one, other = asked(container, name, draft), asked(stand_in, name, draft)
        assert (one.status, other.status) == ((400, 400) if rows == 40 and name != "positions" else (200, 200)), one.body
        if one.status == 200:
            assert difference(_by_name(one), _by_name(other), {name + GPU: name}) == ""


def test_nothing_of_it_listens_on_this_machine_and_nothing_is_left_of_it(samples: dict[str, Sample], tmp_path: Path):
    assert MADE is not None
    others, shared = set(psutil.Process().children(recursive=True)), set(Path("/dev/shm").iterdir())
    with TritonServer(MADE) as server:
        TritonContainer(server).load(NUMBERS.name, unpacked(samples[NUMBERS.name], tmp_path))
        mine = set(psutil.Process().children(recursive=True)) - others
        assert {"tritonserver", "triton_python_backend_stub"} <= {each.name() for each in mine}
        networks = {os.readlink(f"/proc/{each.pid}/ns/net") for each in mine if each.name() == "tritonserver"}
        assert os.readlink("/proc/self/ns/net") not in networks
        assert set(Path("/dev/shm").iterdir()) == shared
    assert psutil.wait_procs(mine, timeout=5)[1] == []
    assert not server.folder.exists()


def _as_triton_has_it(sample: Sample, rng: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    """To Triton, which takes the rows for a batch, a single number a row is [rows, 1]."""
    batched = all(spec.shape[:1] == (-1,) for spec in (*sample.draft.inputs, *sample.draft.outputs))
    arrays = sample.arrays(rng, rows)
    return {name: array.reshape(-1, 1) if batched and array.ndim == 1 else array for name, array in arrays.items()}


def _by_name(answer: Response) -> Response:
    """With the outputs in one order: each server has its own."""
    size = int(answer.headers["Inference-Header-Content-Length"])
    document, tail = json.loads(answer.body[:size]), answer.body[size:]
    parts = {}
    for output in document["outputs"]:
        length = output["parameters"]["binary_data_size"]
        parts[output["name"]], tail = (output, tail[:length]), tail[length:]
    assert tail == b""
    ordered = [parts[name] for name in sorted(parts)]
    text = json.dumps({**document, "outputs": [output for output, _ in ordered]}).encode()
    return Response(answer.status, {"Inference-Header-Content-Length": str(len(text))}, text + b"".join(data for _, data in ordered))
