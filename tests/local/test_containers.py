"""The stand-in for Triton: what publishing writes is what it loads, and NVIDIA's own client encodes what it reads."""

from __future__ import annotations

import hashlib
import json
import tarfile

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import triton_to_np_dtype

from models.config import GpuConfig
from modelserve.manifest import MODEL_FILE, File, Manifest, archive_version
from modelserve.session import open_session
from tests.local.endpoints import CONFIG, archive
from tests.unit.modelserve.graphs import ELEMENTS, identity, lookup, pair, scaled
from tools.local.containers import LoadFailed, OnnxContainer
from tools.modelctl import triton as packing

BINARY = "application/vnd.sagemaker-triton.binary+json;json-header-size="
DATATYPES = sorted(set(ELEMENTS) - {"BF16"})
# tritonclient's own library warns under Python 3.13; what it encodes is what is tested.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.fixture
def container():
    return OnnxContainer()


def unpacked(tmp_path, body):
    packed = tmp_path / "archive.tar.gz"
    packed.write_bytes(body)
    with tarfile.open(packed) as files:
        files.extractall(tmp_path / "unpacked", filter="data")
    return tmp_path / "unpacked"


def published(tmp_path, content, **gpu):
    """The archive that publishing makes of a graph, unpacked."""
    file = tmp_path / MODEL_FILE
    file.write_bytes(content)
    session = open_session(str(file), name="sample", threads=1)
    listed = File(path=MODEL_FILE, size=file.stat().st_size, sha256="0" * 64)
    manifest = Manifest(
        name="sample", version="", created="", task="regression", inputs=session.inputs, outputs=session.outputs, files=(listed,),
        opset={"": 21}, ir=10,
    )  # fmt: skip
    packing.archive(file, manifest, GpuConfig.model_validate(gpu), tmp_path / "archive.tar.gz")
    return unpacked(tmp_path, (tmp_path / "archive.tar.gz").read_bytes())


def ask(container, arrays, *, binary=True, outputs=None, request_id=""):
    """Encoded and decoded by NVIDIA's client."""
    inputs = []
    for name, (array, datatype) in arrays.items():
        inputs.append(triton.InferInput(name, list(array.shape), datatype))
        inputs[-1].set_data_from_numpy(array, binary_data=binary)
    asked = [triton.InferRequestedOutput(name, binary_data=binary) for name in outputs] if outputs else None
    body, size = triton.InferenceServerClient.generate_request_body(inputs, outputs=asked, request_id=request_id)
    status, content_type, answer = container.invoke("m", "application/json" if size is None else f"{BINARY}{size}", body)
    if status != 200:
        return status, json.loads(answer)["error"]
    assert content_type.startswith(BINARY) is binary
    size = int(content_type.removeprefix(BINARY)) if binary else None
    return status, triton.InferenceServerClient.parse_response_body(answer, header_length=size)


def rows(datatype, shape=(2, 3)):
    if datatype == "BYTES":
        return np.array([["a", "bé", ""], ["c", "d" * 300, "\0"]], dtype=object).reshape(shape)
    return np.arange(6).reshape(shape).astype(triton_to_np_dtype(datatype))


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("max_batch", [0, 8])
def test_every_datatype_goes_there_and_back(container, tmp_path, datatype, max_batch):
    container.load("m", published(tmp_path, identity(datatype), max_batch=max_batch))
    _, answer = ask(container, {"x": (rows(datatype), datatype)}, outputs=["y"])
    found = answer.as_numpy("y")
    if datatype == "BYTES":
        found = np.array([element.decode() for element in found.ravel()], dtype=object).reshape(found.shape)
    np.testing.assert_array_equal(found, rows(datatype))


@pytest.mark.parametrize("datatype", sorted(set(DATATYPES) - {"FP16"}))
def test_every_datatype_but_fp16_goes_as_json(container, tmp_path, datatype):
    container.load("m", published(tmp_path, identity(datatype)))
    _, answer = ask(container, {"x": (rows(datatype), datatype)}, binary=False, outputs=["y"])
    np.testing.assert_array_equal(answer.as_numpy("y"), rows(datatype))


def test_an_fp16_output_is_refused_as_json(container, tmp_path):
    container.load("m", published(tmp_path, identity("FP16")))
    status, _, body = container.invoke("m", "application/json", b'{"inputs":[{"name":"x","datatype":"FP16","shape":[1,3],"data":[1,2,3]}]}')
    assert (status, "FP16 data via JSON" in json.loads(body)["error"]) == (400, True)


@pytest.mark.parametrize(("max_batch", "shape"), [(8, (3, 1)), (0, (3,))])
def test_a_tensor_without_a_dimension_beside_the_rows_has_one_where_there_are_batches(container, tmp_path, max_batch, shape):
    container.load("m", published(tmp_path, identity("FP32", ("rows",)), max_batch=max_batch))
    given = np.array([1, 2, 3], np.float32).reshape(shape)
    np.testing.assert_array_equal(ask(container, {"x": (given, "FP32")}, outputs=["y"])[1].as_numpy("y"), given)


def test_outputs_come_in_an_order_of_its_own_under_the_name_it_was_loaded_by(container, tmp_path):
    container.load("m", published(tmp_path, pair()))
    arrays = {name: (np.full((1, 2), number, np.float32), "FP32") for name, number in (("a", 3), ("b", 1))}
    response = ask(container, arrays, outputs=["total", "difference"], request_id="7")[1].get_response()
    assert [output["name"] for output in response["outputs"]] == ["difference", "total"]
    number = str(archive_version(hashlib.sha256(pair()).hexdigest()[:8]))
    assert (response["id"], response["model_name"], response["model_version"]) == ("7", "m", number)
    assert [output["name"] for output in ask(container, arrays, outputs=["total"])[1].get_response()["outputs"]] == ["total"]


@pytest.mark.parametrize(
    ("arrays", "outputs", "message"),
    [
        ({"x": (np.zeros((5, 3), np.float32), "FP32")}, ["y"], "inference request batch-size must be <= 4 for 'm'"),
        ({"x": (np.zeros((0, 3), np.float32), "FP32")}, ["y"], "input byte size mismatch for input 'x'"),
        ({"x": (np.zeros((1, 2), np.float32), "FP32")}, ["y"], "unexpected shape for input 'x' for model 'm'. Expected [-1,3], got [1,2]"),
        ({"x": (np.zeros((3,), np.float32), "FP32")}, ["y"], "Expected [-1,3], got [3]"),
        ({"x": (np.zeros((1, 3)), "FP64")}, ["y"], "data-type is 'FP64', but model 'm' expects 'FP32'"),
        ({"z": (np.zeros((1, 3), np.float32), "FP32")}, ["y"], "unexpected inference input 'z' for model 'm'"),
        ({name: (np.zeros((1, 3), np.float32), "FP32") for name in "xz"}, ["y"], "expected 1 inputs but got 2 inputs for model 'm'"),
        ({"x": (np.zeros((1, 3), np.float32), "FP32")}, ["z"], "unexpected inference output 'z' for model 'm'"),
    ],
)
def test_what_does_not_fit_the_config_is_refused(container, tmp_path, arrays, outputs, message):
    container.load("m", unpacked(tmp_path, archive(scaled(2))))
    status, found = ask(container, arrays, outputs=outputs)
    assert (status, message in found) == (400, True), found


def item(**changes):
    return {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3], **changes}


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        ("application/json", b"{", "failed to parse the request JSON buffer"),
        ("application/json", b"", "failed to parse the request JSON buffer"),
        ("application/json", b"{}", "Unable to parse 'inputs'"),
        ("application/json", {"inputs": [item(data=None)]}, "Unable to parse 'data'"),
        ("application/json", {"inputs": [item(data=[1, 2])]}, "Unable to parse 'data'"),
        ("application/json", {"inputs": [item(shape=[-1, 3])]}, "Unable to parse 'shape'"),
        ("application/json", {"inputs": [item(datatype="FP31")]}, "unknown datatype"),
        ("application/json", {"inputs": [item(), item()]}, "already exists"),
        ("text/plain", {"inputs": [item()], "outputs": [{}]}, "Unable to parse 'name'"),
        (f"{BINARY}99", b"{}", "inference header size should be in range (0, 2), got: 99"),
        (f"{BINARY}no", b"{}", "inference header size should be in range"),
        (f"text/plain, {BINARY}2", b"{}", "expect MIME type for binary data starts with"),
    ],
)
def test_what_cannot_be_read_is_refused(container, tmp_path, content_type, body, message):
    container.load("m", unpacked(tmp_path, archive(scaled(2))))
    status, kind, answer = container.invoke("m", content_type, body if isinstance(body, bytes) else json.dumps(body).encode())
    assert (status, kind) == (400, "application/json")
    assert message in json.loads(answer)["error"]


@pytest.mark.parametrize(
    ("size", "data", "message"),
    [
        (12, bytes(11), "unexpected size for input 'x', expecting 1 additional bytes"),
        (8, bytes(8), "input byte size mismatch for input 'x'"),
        (12, bytes(13), "unexpected additional input data"),
    ],
)
def test_binary_data_of_another_size_is_refused(container, tmp_path, size, data, message):
    container.load("m", unpacked(tmp_path, archive(scaled(2))))
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": size}}
    header = json.dumps({"inputs": [tensor]}).encode()
    status, _, answer = container.invoke("m", f"{BINARY}{len(header)}", header + data)
    assert (status, message in json.loads(answer)["error"]) == (400, True), answer


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x09\0\0\0a", "incomplete string data"),
        (b"\x01\0\0\0a", "expected 3 string elements"),
        (b"\x01", "string"),
        (b"\x01\0\0\0\xff", "not UTF-8"),
    ],
)
def test_text_that_is_cut_off_is_refused(container, tmp_path, data, message):
    container.load("m", published(tmp_path, identity("BYTES")))
    tensor = {"name": "x", "datatype": "BYTES", "shape": [1, 3], "parameters": {"binary_data_size": len(data)}}
    header = json.dumps({"inputs": [tensor]}).encode()
    status, _, answer = container.invoke("m", f"{BINARY}{len(header)}", header + data)
    assert (status, message in json.loads(answer)["error"]) == (400, True), answer


def test_what_the_graph_refuses_is_said_in_the_words_of_onnx_runtime(container, tmp_path):
    container.load("m", published(tmp_path, lookup()))
    status, message = ask(container, {"x": (np.array([[99]]), "INT64")})
    assert status == 400
    assert message.startswith("onnx runtime error ")
    assert "indices element out of data bounds" in message


def test_a_model_that_was_unloaded_is_unknown(container, tmp_path):
    container.load("m", unpacked(tmp_path, archive(scaled(2))))
    container.unload("m")
    assert container.invoke("m", "application/json", b"{}")[0] == 404


@pytest.mark.parametrize(
    ("content", "config", "message"),
    [
        (b"no graph", CONFIG, "failed to load 'scaled'"),
        (scaled(2), "no config", "failed to read text proto from config.pbtxt"),
        (scaled(2), CONFIG.replace("max_batch_size", "max_batch"), 'no field named "max_batch"'),
        (scaled(2), CONFIG.replace('"scaled"', '"other"'), "expected it to be named 'other'"),
        (scaled(2), CONFIG.replace("onnxruntime", "pytorch"), "this machine runs onnxruntime"),
        (scaled(2), CONFIG.replace("TYPE_FP32", "TYPE_FP64", 1), "it has 'x' as tensor(float), its config as FP64"),
        (scaled(2), CONFIG.replace("dims: [ 3 ]", "dims: [ 4 ]", 1), "tensor 'x': the model expects 2 dimensions"),
        (scaled(2), CONFIG.replace("max_batch_size: 4", "max_batch_size: 0"), "configuration specifies 1 dimensions"),
        (scaled(2), CONFIG.replace('name: "y"', 'name: "z"'), "its configuration has the outputs ['z'], it ['y']"),
    ],
)
def test_an_archive_whose_parts_do_not_fit_is_not_loaded(container, tmp_path, content, config, message):
    with pytest.raises(LoadFailed) as refused:
        container.load("m", unpacked(tmp_path, archive(content, config)))
    assert message in str(refused.value)


@pytest.mark.parametrize("member", ["config.pbtxt", "scaled/1/config.pbtxt"])
def test_an_archive_of_another_layout_is_not_loaded(container, tmp_path, member):
    with pytest.raises(LoadFailed, match=r"expected <name>/config\.pbtxt and <name>/<number>/model\.onnx"):
        container.load("m", unpacked(tmp_path, archive(scaled(2), member=member)))


def test_an_archive_without_a_graph_is_not_loaded(container, tmp_path):
    folder = unpacked(tmp_path, archive(scaled(2)))
    (folder / "scaled" / "1" / MODEL_FILE).unlink()
    with pytest.raises(LoadFailed, match=r"unable to find '1/model\.onnx'"):
        container.load("m", folder)
