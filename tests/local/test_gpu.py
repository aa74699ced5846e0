"""Heavy models through the whole app: API, gateway function, SageMaker's runtime and Triton's protocol, the last two stood in for."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import tritonclient.http as triton
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

from tests.local.heavy import Heavy
from tests.local.releases import HEAVY, QUEUED, Served, call, eventually, result
from tests.local.test_release import Traffic
from tests.unit.modelserve.graphs import graph, scaled, value
from tools.local.models import Published
from tools.local.prediction import predict
from tools.local.stack import LocalStack

pytestmark = [
    pytest.mark.xdist_group("release"),
    pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program"),
    # tritonclient's own library warns under Python 3.13; what it answers is what is tested.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Tried to parse"),  # moto, of every resource type that it skips in an update
]


@pytest.fixture
def heavy(served, release):
    return Heavy(served(HEAVY), release)


@pytest.fixture
def queued(served, release):
    return Heavy(served(QUEUED), release)


def refusing() -> bytes:
    """Answers the rows of `x` whose numbers, from 1, are its first column: for one beyond the rows the run fails."""
    nodes = [
        helper.make_node("Slice", ["x", "zero", "one", "one"], ["first"]),
        helper.make_node("Cast", ["first"], ["numbers"], to=TensorProto.INT64),
        helper.make_node("Sub", ["numbers", "one"], ["column"]),
        helper.make_node("Reshape", ["column", "flat"], ["indices"]),
        helper.make_node("Gather", ["x", "indices"], ["y"], axis=0),
    ]
    constants = [helper.make_tensor(name, TensorProto.INT64, [1], [value]) for name, value in (("zero", 0), ("one", 1), ("flat", -1))]
    return graph(nodes, [value("x", "FP32", ("rows", 3))], [value("y", "FP32", ("rows", 3))], constants)


def document(response, status=200):
    assert response.status == status, response.body
    return json.loads(response.body)


def answers(model: Heavy, version: str):
    """Until the function knows that its alias names `version`."""
    return eventually(model.predict, lambda answer: answer.status == 200 and version.encode() in answer.body)


def test_a_heavy_model_answers_as_one_on_lambda(heavy, served):
    light: Served = served("sturdy")
    version, other = heavy.release_scaled(2.0), light.release_scaled(2.0)
    assert result(answers(heavy, version)) == (version, 2.0)
    for more in ({}, {"id": "7"}, {"outputs": [{"name": "y", "parameters": {"classification": 2}}]}):
        found, expected = heavy.infer([[1, 2, 3]], **more), call(light._stack, "POST", "/v2/models/sturdy/infer", body(more))
        assert found.body.replace(version.encode(), b"V") == expected.body.replace(other.encode(), b"V").replace(b"sturdy", b"heavy")
    metadata = document(heavy.get())
    assert (metadata["platform"], metadata["inputs"]) == (
        "onnxruntime_onnx",
        [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
    )
    assert heavy.get("/ready").status == 200


def body(more):
    return json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [[1, 2, 3]]}], **more}).encode()


def test_more_rows_than_run_at_once_are_answered_in_their_order(heavy):
    answers(heavy, heavy.release_scaled(2.0))
    rows = [[float(number), 0.0, 0.0] for number in range(11)]  # three times max_batch, less one
    (output,) = document(heavy.infer(rows))["outputs"]
    assert output["shape"] == [11, 3]
    assert output["data"][::3] == [2.0 * number for number in range(11)]
    (output,) = document(heavy.infer([[0.0] * 3]))["outputs"]
    assert output["shape"] == [1, 3]


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_an_unmodified_tritonclient_predicts(heavy, release, binary):
    answers(heavy, heavy.release_scaled(3.0))
    key = {"Authorization": f"Bearer {release.key}"}
    rows = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    tensor = triton.InferInput("x", [2, 3], "FP32")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    with triton.InferenceServerClient(release.url.removeprefix("http://")) as client:
        assert client.is_model_ready(HEAVY, headers=dict(key))
        outputs = [triton.InferRequestedOutput("y", binary_data=binary)]
        answer = client.infer(HEAVY, [tensor], outputs=outputs, headers=dict(key))
        np.testing.assert_array_equal(answer.as_numpy("y"), rows * 3)
        named = client.infer(HEAVY, [tensor], outputs=[triton.InferRequestedOutput("y", class_count=1)], headers=dict(key))
        assert [each.decode() if isinstance(each, bytes) else each for each in named.as_numpy("y").ravel()] == ["9.000000:2", "18.000000:2"]
        narrow = triton.InferInput("x", [2, 2], "FP32")
        narrow.set_data_from_numpy(rows[:, :2].copy(), binary_data=binary)
        with pytest.raises(InferenceServerException, match=r"shape \[2, 2\]; expected \[-1, 3\]"):
            client.infer(HEAVY, [narrow], headers=dict(key))


def test_what_the_model_refuses_is_a_400_with_its_reason(heavy):
    answers(heavy, heavy.release_scaled(2.0))
    heavy.promote(heavy.publish(refusing()), "staging")
    assert document(heavy.infer([[1, 2, 3]], version="/versions/staging"))["outputs"][0]["data"] == [1, 2, 3]
    refused = document(heavy.infer([[99, 1, 2]], version="/versions/staging"), 400)
    assert "out of data bounds" in refused["error"]
    assert "/" not in refused["error"].partition("out of data bounds")[0].replace("Status Message:", "")
    assert document(heavy.infer([[99, 1, 2]]))["outputs"][0]["data"] == [198, 2, 4]


def test_a_version_that_nobody_published_is_not_found(heavy):
    answers(heavy, heavy.release_scaled(2.0))
    assert heavy.infer([[1, 2, 3]], version="/versions/nobody").status == 404


def test_a_version_without_an_archive_says_what_to_run(heavy):
    answers(heavy, heavy.release_scaled(2.0))
    Served.promote(heavy, Served.publish(heavy, scaled(9.0)), "bare")
    refused = document(heavy.infer([[1, 2, 3]], version="/versions/bare"), 503)
    assert 'publish it again with target = "gpu"' in refused["error"]


def test_without_its_endpoint_a_model_says_what_makes_one_and_answers_once_there_is_one(heavy, release):
    answers(heavy, heavy.release_scaled(2.0))
    sagemaker, name = release.cloud.client("sagemaker"), release.outputs["GpuEndpoint"]
    config = sagemaker.describe_endpoint(EndpointName=name)["EndpointConfigName"]
    sagemaker.delete_endpoint(EndpointName=name)
    refused = heavy.infer([[1, 2, 3]])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
    assert "-c gpu=on" in document(refused, 503)["error"]
    assert refused.headers["Retry-After"]
    assert heavy.infer([[1, 2, 3]]).status == 200


def test_promotion_and_rollback_reach_the_endpoint_without_one_failed_request(heavy):
    first, second = heavy.release_scaled(2.0), heavy.publish_scaled(3.0)
    answers(heavy, first)
    with Traffic(heavy.predict) as traffic:
        traffic.settle(first)
        heavy.promote(second)
        traffic.settle(second)
        heavy.registry.rollback(HEAVY, alias="production", by="ann", reason="")
        traffic.settle(first)
    assert traffic.failed == []
    assert traffic.results == {(first, 2.0), (second, 3.0)}


def job(model: Heavy, rows=((1, 2, 3),), **more):
    """What a request is told, and a function that asks for its answer."""
    taken = model.infer([list(row) for row in rows], **more)
    found = document(taken, 202)
    assert taken.headers["Retry-After"]
    assert found["status_url"] == f"/v2/models/{QUEUED}/jobs/{found['id']}"
    return found, lambda **headers: model.get(f"/jobs/{found['id']}", **headers)


def test_a_job_is_answered_as_a_request_would_be(queued):
    version = queued.release_scaled(5.0)
    found, ask = job(queued, id="mine")
    assert (found["model_name"], found["model_version"]) == (QUEUED, version)
    answer = document(eventually(ask, lambda response: response.status != 202))
    assert (answer["id"], answer["model_version"], answer["outputs"][0]["data"]) == ("mine", version, [5.0, 10.0, 15.0])


def test_the_prediction_of_make_run_waits_for_a_job(queued, release, tmp_path):
    version = queued.release_scaled(5.0)
    example = tmp_path / "example.json"
    example.write_text(json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}))
    published = Published(name=QUEUED, task="regression", version=version, metric="", labels=(), example=example)
    assert predict(release.url, published, key=release.key)["outputs"][0]["data"] == [5.0, 10.0, 15.0]


def test_a_job_is_nobody_elses(queued, release):
    queued.release_scaled(5.0)
    found, ask = job(queued)
    eventually(ask, lambda response: response.status == 200)
    stranger = {"Authorization": f"Bearer {release.new_client('passer-by')}"}
    theirs, unknown = ask(**stranger), queued.get(f"/jobs/{'0' * len(found['id'])}")
    assert (theirs.status, unknown.status) == (404, 404)
    assert theirs.body.replace(found["id"].encode(), b"") == unknown.body.replace(b"0" * len(found["id"]), b"")


def test_a_job_that_fails_says_why_as_a_request_would(queued):
    queued.release(refusing())
    _, ask = job(queued, rows=((99, 1, 2),))
    refused = document(eventually(ask, lambda response: response.status != 202), 400)
    assert "out of data bounds" in refused["error"]


def test_a_request_that_does_not_fit_is_refused_before_it_waits(queued):
    queued.release_scaled(5.0)
    assert "expected [-1, 3]" in document(queued.infer([[1, 2]]), 400)["error"]


def test_another_version_runs_after_an_update_of_its_endpoint(queued):
    for factor in (2.0, 3.0):
        version = queued.release_scaled(factor)
        _, ask = job(queued)
        answer = document(eventually(ask, lambda response: response.status != 202))
        assert (answer["model_version"], answer["outputs"][0]["data"][0]) == (version, factor)


def test_an_alias_that_no_endpoint_runs_is_not_found(queued):
    queued.release_scaled(2.0)
    queued.promote(queued.publish_scaled(4.0), "staging")
    assert queued.infer([[1, 2, 3]], version="/versions/staging").status == 404


def test_the_stack_says_which_endpoints_there_are(release: LocalStack):
    assert release.outputs["GpuEndpoint"] == "serverless-onnx-release"
    assert json.loads(release.outputs["AsyncEndpoints"]) == {
        QUEUED: {"endpoint": "serverless-onnx-release-queued", "parameter": "QueuedVersion"}
    }
