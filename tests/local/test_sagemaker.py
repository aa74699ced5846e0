"""SageMaker's runtime API as boto3 sees it, in front of endpoints that CloudFormation made."""

from __future__ import annotations

import json
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import boto3
import numpy as np
import pytest
import tritonclient.http as triton
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.local.endpoints import a_gpu_stack, archive
from tests.unit.modelserve.graphs import scaled
from tools.local.cloud import Cloud
from tools.local.containers import OnnxContainer
from tools.local.sagemaker import MAX_BODY, SageMaker

BUCKET, NAME, SLOW = "heavy", "stand-in", "stand-in-slow"
BINARY = "application/vnd.sagemaker-triton.binary+json;json-header-size="
ROWS = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
# tritonclient's own library warns under Python 3.13; what it encodes is what is tested.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.filterwarnings("ignore::ResourceWarning")]


class Counting(OnnxContainer):
    """Says what was loaded and unloaded."""

    def __init__(self):
        super().__init__()
        self.loads, self.unloads = [], []

    def load(self, name, folder):
        self.loads.append(name)
        super().load(name, folder)

    def unload(self, name):
        self.unloads.append(name)
        super().unload(name)


@pytest.fixture(scope="module")
def cloud():
    with Cloud() as cloud:
        cloud.client("s3").create_bucket(Bucket=BUCKET)
        cloud.create(a_gpu_stack(NAME, BUCKET))
        yield cloud


@pytest.fixture
def container():
    return Counting()


@pytest.fixture
def runtime(cloud, container):
    service = SageMaker(lambda: container, cloud.client("s3"))
    yield boto3.client(
        "sagemaker-runtime",
        region_name="us-east-1",
        endpoint_url=service.url,
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(retries={"mode": "standard", "total_max_attempts": 1}),
    )
    service.close()


def publish(cloud, version, body, model="quick"):
    """What TargetModel is then."""
    path = f"{model}/versions/{version}/model.tar.gz"
    cloud.client("s3").put_object(Bucket=BUCKET, Key=f"models/{path}", Body=body)
    return path


def release(cloud, graph):
    """A new version of the asynchronous model, promoted as promoting does: one parameter of the stack as it stands."""
    version = uuid.uuid4().hex
    publish(cloud, version, archive(graph), model="slow")
    parameters = [
        {"ParameterKey": "SlowVersion", "ParameterValue": version},
        {"ParameterKey": "OtherVersion", "UsePreviousValue": True},
    ]
    cloud.client("cloudformation").update_stack(StackName=NAME, UsePreviousTemplate=True, Parameters=parameters)


def encoded(rows=ROWS, *, binary=True):
    """NVIDIA's own encoding of a request: content type and body."""
    tensor = triton.InferInput("x", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    outputs = [triton.InferRequestedOutput("y", binary_data=binary)]
    body, size = triton.InferenceServerClient.generate_request_body([tensor], outputs=outputs)
    return ("application/json", body) if size is None else (f"{BINARY}{size}", body)


def decoded(content_type, body):
    size = int(content_type.removeprefix(BINARY)) if content_type.startswith(BINARY) else None
    return triton.InferenceServerClient.parse_response_body(body, header_length=size).as_numpy("y")


def invoke(runtime, target, content=None, name=NAME):
    content_type, body = content or encoded()
    options = {"TargetModel": target} if target else {}
    answer = runtime.invoke_endpoint(EndpointName=name, ContentType=content_type, Body=body, **options)
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    return answer["ContentType"], answer["Body"].read()


def refused(call, *arguments, **options):
    with pytest.raises(ClientError) as caught:
        call(*arguments, **options)
    return caught.value.response


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_a_model_of_several_answers_in_nvidias_own_encoding(cloud, runtime, binary):
    target = publish(cloud, "twice", archive(scaled(2)))
    content_type, body = invoke(runtime, target, encoded(binary=binary))
    assert content_type.startswith(BINARY) is binary
    np.testing.assert_array_equal(decoded(content_type, body), ROWS * 2)


def test_versions_answer_side_by_side_and_each_is_loaded_once(cloud, runtime, container):
    targets = {factor: publish(cloud, f"times-{factor}", archive(scaled(factor))) for factor in (3, 5)}
    with ThreadPoolExecutor(8) as pool:
        asked = [(factor, pool.submit(invoke, runtime, targets[factor])) for factor in (3, 5) * 10]
        for factor, answer in asked:
            np.testing.assert_array_equal(decoded(*answer.result()), ROWS * factor)
    assert len(container.loads) == 2


def test_an_endpoint_that_is_not_there_is_named(runtime):
    response = refused(invoke, runtime, None, name="nobody")
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert (response["Error"]["Code"], response["Error"]["Message"]) == (
        "ValidationError",
        "Endpoint nobody of account 123456789012 not found.",
    )


def test_a_version_without_an_archive_is_missing_until_there_is_one(cloud, runtime):
    response = refused(invoke, runtime, "quick/versions/late/model.tar.gz")
    assert response["Error"]["Code"] == "ValidationError"
    assert "(bucket: heavy, key: models/quick/versions/late/model.tar.gz)" in response["Error"]["Message"]
    target = publish(cloud, "late", archive(scaled(2)))
    np.testing.assert_array_equal(decoded(*invoke(runtime, target)), ROWS * 2)


@pytest.mark.parametrize(
    "body",
    [b"", b"no archive", archive(scaled(2))[:100], archive(scaled(2), member="../../escaped")],
    ids=["empty", "none", "cut off", "escaping"],  # its bytes hold the time, and each worker must collect the same
)
def test_what_cannot_be_unpacked_is_missing_too(cloud, runtime, tmp_path, body):
    assert "Failed to download model data" in refused(invoke, runtime, publish(cloud, "broken", body))["Error"]["Message"]


def test_a_header_that_does_not_fit_the_endpoint_is_refused(cloud, runtime):
    assert "is missing a target model header" in refused(invoke, runtime, None)["Error"]["Message"]
    release(cloud, scaled(7))
    response = refused(runtime.invoke_endpoint_async, EndpointName=NAME, InputLocation="s3://heavy/input")
    assert (response["Error"]["Code"], "InvokeEndpoint." in response["Error"]["Message"]) == ("ValidationError", True)
    assert "Use InvokeEndpointAsync" in refused(invoke, runtime, None, name=SLOW)["Error"]["Message"]


def test_an_error_of_the_model_comes_with_its_status_and_message(cloud, runtime):
    target = publish(cloud, "twice", archive(scaled(2)))
    response = refused(invoke, runtime, target, encoded(np.zeros((5, 3), np.float32)))
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert (response["Error"]["Code"], response["OriginalStatusCode"]) == ("ModelError", 400)
    assert "batch-size must be <= 4" in json.loads(response["OriginalMessage"])["error"]
    assert response["LogStreamArn"].endswith(f"/aws/sagemaker/Endpoints/{NAME}")
    assert response["Error"]["Message"].startswith("Received client error (400) from primary with message ")


def test_an_archive_that_the_container_does_not_take_is_its_error(cloud, runtime):
    response = refused(invoke, runtime, publish(cloud, "garbled", archive(b"no graph")))
    assert response["Error"]["Code"] == "ModelError"
    assert "failed to load 'scaled'" in response["OriginalMessage"]


def test_a_container_that_does_not_answer_in_time_is_a_server_error(cloud, runtime, container):
    target = publish(cloud, "twice", archive(scaled(2)))

    def give_up(*_):
        raise TimeoutError

    container.invoke = give_up
    response = refused(invoke, runtime, target)
    assert (response["Error"]["Code"], response["OriginalStatusCode"]) == ("ModelError", 0)
    assert "timed out while waiting" in response["OriginalMessage"]


def test_a_request_over_the_limit_is_refused_with_its_status_for_a_code(runtime):
    response = refused(invoke, runtime, "any", ("application/json", b"x" * (MAX_BODY + 1)))
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == ("413", 413)


def job(cloud, runtime, body=None):
    """Puts a request and invokes with it: the answer, and a function that waits for what is written."""
    content_type, content = encoded()
    s3 = cloud.client("s3")
    if body is not False:
        s3.put_object(Bucket=BUCKET, Key="slow/request", Body=content if body is None else body)
    answer = runtime.invoke_endpoint_async(
        EndpointName=SLOW, InputLocation=f"s3://{BUCKET}/slow/request", ContentType=content_type, InferenceId="seven"
    )

    def written(location):
        deadline = time.monotonic() + 20
        while True:
            try:
                return s3.get_object(Bucket=BUCKET, Key=location.removeprefix(f"s3://{BUCKET}/"))
            except s3.exceptions.NoSuchKey:
                assert time.monotonic() < deadline
                time.sleep(0.02)

    return answer, written


def test_a_job_is_taken_at_once_and_its_answer_written_where_it_said(cloud, runtime):
    release(cloud, scaled(7))
    answer, written = job(cloud, runtime)
    assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["InferenceId"]) == (202, "seven")
    assert answer["OutputLocation"].startswith("s3://heavy/slow/answers/")
    assert answer["OutputLocation"].endswith(".out")
    found = written(answer["OutputLocation"])
    np.testing.assert_array_equal(decoded(found["ContentType"], found["Body"].read()), ROWS * 7)


@pytest.mark.parametrize(("body", "reason"), [(b"garbage", "from primary with message"), (False, "Failed to download input data")])
def test_a_job_that_fails_leaves_the_reason(cloud, runtime, body, reason):
    cloud.client("s3").delete_object(Bucket=BUCKET, Key="slow/request")
    release(cloud, scaled(7))
    answer, written = job(cloud, runtime, body)
    assert answer["FailureLocation"].endswith("-error.out")
    assert reason in written(answer["FailureLocation"])["Body"].read().decode()


def test_another_version_of_an_endpoint_answers_after_the_update_and_the_one_before_is_unloaded(cloud, runtime, container):
    for factor in (2, 3):
        release(cloud, scaled(factor))
        answer, written = job(cloud, runtime)
        found = written(answer["OutputLocation"])
        np.testing.assert_array_equal(decoded(found["ContentType"], found["Body"].read()), ROWS * factor)
    deadline = time.monotonic() + 5
    while container.unloads != container.loads[:1]:
        assert time.monotonic() < deadline, (container.loads, container.unloads)
        time.sleep(0.01)


def test_an_endpoint_answers_throughout_an_update(cloud, runtime):
    release(cloud, scaled(7))
    updates = threading.Thread(target=lambda: [release(cloud, scaled(factor)) for factor in (2, 3, 4)])
    updates.start()
    while updates.is_alive():
        assert job(cloud, runtime)[0]["InferenceId"] == "seven"
    updates.join()
