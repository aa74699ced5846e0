"""Unmodified clients of others against the whole app, with the stage's prefix and without."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException
from uv import find_uv_bin

from tools.local.stack import LocalStack

CLIENTS = Path(__file__).parents[1] / "clients"
CACHE = Path(__file__).parents[2] / "build" / "clients"
ROWS = np.zeros((2, 30), np.float32)
# kserve's and tritonclient's own libraries warn under Python 3.13; what they answer is what is tested.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.fixture(params=["stage", "root"])
def url(request: pytest.FixtureRequest, local: LocalStack) -> str:
    """Host and path as a client takes them: behind the stage, as API Gateway has it, or as a custom domain would."""
    staged = local.url.removeprefix("http://")
    return staged if request.param == "stage" else staged.partition("/")[0]


Headers = Callable[[], dict[str, str]]


@pytest.fixture
def headers(local: LocalStack) -> Headers:
    """A new dictionary for each call: tritonclient and kserve write the length of a binary request's header into theirs."""
    return lambda: {"Authorization": f"Bearer {local.key}"}


def environment(name: str) -> Path:
    """The `bin` of an environment that holds one client and what it pins, made once."""
    requirements = CLIENTS / f"{name}.txt"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = CACHE / f"{name}-{digest}"
    if not (folder / "ready").exists():
        clean = {key: value for key, value in os.environ.items() if key not in {"VIRTUAL_ENV", "UV_PYTHON"}}
        uv(["venv", "--clear", "--python", sys.executable, str(folder)], clean)
        uv(["pip", "install", "--python", str(folder / "bin" / "python"), "--only-binary", ":all:", "-r", str(requirements)], clean)
        (folder / "ready").touch()
    return folder / "bin"


def uv(arguments: list[str], environ: dict[str, str]) -> None:
    done = subprocess.run([find_uv_bin(), "--quiet", *arguments], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def run(*line: object) -> str:
    done = subprocess.run([str(part) for part in line], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def numbers(rows: np.ndarray[Any, Any], *, binary: bool) -> Any:
    tensor = triton.InferInput("input", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    return tensor


def texts(name: str, values: list[str], *, binary: bool) -> Any:
    tensor = triton.InferInput(name, [len(values), 1], "BYTES")
    tensor.set_data_from_numpy(np.array(values, dtype=object).reshape(-1, 1), binary_data=binary)
    return tensor


def column(name: str, values: list[float], *, binary: bool) -> Any:
    tensor = triton.InferInput(name, [len(values), 1], "FP32")
    tensor.set_data_from_numpy(np.array(values, np.float32).reshape(-1, 1), binary_data=binary)
    return tensor


def test_tritonclient_finds_the_server_and_the_model(url: str, headers: Headers) -> None:
    with triton.InferenceServerClient(url) as client:
        assert client.is_server_live(headers=headers())
        assert client.is_server_ready(headers=headers())
        assert client.is_model_ready("tumour", headers=headers())
        assert client.is_model_ready("tumour", "production", headers=headers())
        assert "binary_tensor_data" in client.get_server_metadata(headers=headers())["extensions"]
        metadata = client.get_model_metadata("tumour", headers=headers())
        assert metadata["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 30]}]
        states = {entry["name"]: entry["state"] for entry in client.get_model_repository_index(headers=headers())}
        assert states["tumour"] == "READY"


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_tritonclient_predicts(url: str, headers: Headers, binary: bool, compression: str | None) -> None:
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("label", "probabilities")]
    with triton.InferenceServerClient(url) as client:
        answer = client.infer(
            "tumour",
            [numbers(ROWS, binary=binary)],
            outputs=outputs,
            request_id="7",
            request_compression_algorithm=compression,
            headers=headers(),
        )
    assert answer.get_response()["id"] == "7"
    assert answer.as_numpy("label").shape == (2,)
    np.testing.assert_allclose(answer.as_numpy("probabilities").sum(axis=1), 1, rtol=1e-5)


def test_tritonclient_gets_the_same_answer_by_default_and_in_json(url: str, headers: Headers) -> None:
    with triton.InferenceServerClient(url) as client:
        default = client.infer("tumour", [numbers(ROWS, binary=True)], headers=headers())
        plain = client.infer(
            "tumour",
            [numbers(ROWS, binary=False)],
            outputs=[triton.InferRequestedOutput("probabilities", binary_data=False)],
            headers=headers(),
        )
    np.testing.assert_array_equal(default.as_numpy("probabilities"), plain.as_numpy("probabilities"))


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_tritonclient_sends_text_and_gets_labels(url: str, headers: Headers, binary: bool) -> None:
    inputs = [
        column("age", [40.0], binary=binary),
        column("hours", [45.0], binary=binary),
        column("education_years", [16.0], binary=binary),
        texts("occupation", ["management"], binary=binary),
        texts("sector", ["private"], binary=binary),
    ]
    outputs = [triton.InferRequestedOutput("label", binary_data=binary), triton.InferRequestedOutput("probabilities", class_count=1)]
    with triton.InferenceServerClient(url) as client:
        answer = client.infer("income", inputs, outputs=outputs, headers=headers())
    label = answer.as_numpy("label").ravel()[0]
    assert (label.decode() if isinstance(label, bytes) else label) in {"high", "low"}
    assert answer.as_numpy("probabilities").ravel()[0].decode().split(":")[2] in {"high", "low"}


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_tritonclient_predicts_by_the_gpu_route(url: str, headers: Headers, binary: bool) -> None:
    images = triton.InferInput("input", [2, 1, 28, 28], "FP32")
    images.set_data_from_numpy(np.zeros((2, 1, 28, 28), np.float32), binary_data=binary)
    outputs = [triton.InferRequestedOutput("label", binary_data=binary), triton.InferRequestedOutput("probabilities", class_count=1)]
    with triton.InferenceServerClient(url) as client:
        assert client.is_model_ready("digits_cnn", headers=headers())
        answer = client.infer("digits_cnn", [images], outputs=outputs, headers=headers())
    labels, named = answer.as_numpy("label").tolist(), answer.as_numpy("probabilities").ravel().tolist()
    assert [int((each.decode() if isinstance(each, bytes) else each).split(":")[1]) for each in named] == labels


def test_tritonclient_is_told_what_is_wrong(url: str, headers: Headers) -> None:
    with triton.InferenceServerClient(url) as client:
        with pytest.raises(InferenceServerException, match=r"shape \[2, 3\]; expected \[-1, 30\]"):
            client.infer("tumour", [numbers(ROWS[:, :3].copy(), binary=True)], headers=headers())
        with pytest.raises(InferenceServerException, match="nobody"):
            client.infer("nobody", [numbers(ROWS, binary=True)], headers=headers())
        assert client.infer("tumour", [numbers(ROWS, binary=True)], headers=headers()).as_numpy("label") is not None


def test_tritonclient_aio_predicts_many_at_once(url: str, headers: Headers) -> None:
    async def ask() -> list[Any]:
        async with triton_aio.InferenceServerClient(url) as client:
            assert await client.is_model_ready("tumour", headers=headers())
            return await asyncio.gather(
                *(client.infer("tumour", [numbers(ROWS, binary=number % 2 == 0)], headers=headers()) for number in range(8))
            )

    answers = asyncio.run(ask())
    assert {tuple(answer.as_numpy("label")) for answer in answers} == {tuple(answers[0].as_numpy("label"))}


def test_kserve_predicts(url: str, headers: Headers) -> None:
    answers = json.loads(run(environment("kserve") / "python", CLIENTS / "kserve_calls.py", f"http://{url}", headers()["Authorization"]))
    assert (answers["live"], answers["ready"], answers["model_ready"]) == (True, True, True)
    np.testing.assert_allclose(answers["binary"]["probabilities"], answers["json"]["probabilities"])


def test_mlserver_infer_predicts(url: str, headers: Headers, tmp_path: Path) -> None:
    requests, responses = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    request = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 30], "data": [0.0] * 30}]}
    requests.write_text("\n".join(json.dumps(request) for _ in range(4)))
    header = f"Authorization: {headers()['Authorization']}"
    run(environment("mlserver") / "mlserver", "infer", "-u", url, "-m", "tumour", "-i", requests, "-o", responses, "-H", header)
    answers = [json.loads(line) for line in responses.read_text().splitlines()]
    assert len(answers) == 4
    assert all(answer["outputs"][0]["name"] == "label" for answer in answers), answers[0]


def test_curl_predicts_with_no_more_than_a_key_and_a_body(url: str, headers: Headers) -> None:
    body = json.dumps({"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 30], "data": [[0.0] * 30]}]})
    key = ["--header", f"Authorization: {headers()['Authorization']}"]
    answer = json.loads(run("curl", "--silent", "--show-error", "--fail", *key, f"http://{url}/v2/models/tumour/infer", "--data", body))
    assert answer["model_name"] == "tumour"
