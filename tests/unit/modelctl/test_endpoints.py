"""What promote does to endpoints before it moves an alias; SageMaker's runtime is a stub, CloudFormation is moto's or a stub."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError
from botocore.stub import Stubber
from moto import mock_aws

from modelserve.manifest import ARCHIVE_FILE, MODEL_FILE, Manifest, TensorSpec
from modelserve.record import replace
from modelserve.registry import Registry
from tests.unit.modelctl.factories import TOML, draft, model_folder
from tools.modelctl import endpoints, paths
from tools.modelctl.deployment import Deployment, find, stack_name
from tools.modelctl.errors import EndpointFailed, UsageFailed

ENDPOINT = "serverless-onnx-prod"
EXAMPLE = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 1.5]}]}
STACK = stack_name("prod", "Gpu")
ASYNC = {"step": {"endpoint": f"{ENDPOINT}-step", "parameter": "StepVersion"}}


class Said(list[str]):
    """Steps and notes."""

    def __call__(self, text: str) -> None:
        self.append(text)


@pytest.fixture(autouse=True)
def workplace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    return tmp_path


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    """With a store, and no Gpu stack yet."""
    with mock_aws():
        client: Any = boto3.client("s3")
        client.create_bucket(Bucket="store")
        client.put_bucket_versioning(Bucket="store", VersioningConfiguration={"Status": "Enabled"})
        yield Deployment(name="prod", region="us-east-1", bucket="store", url=None, session=boto3.Session(), stacks="prod")


def deploy(outputs: dict[str, str]) -> None:
    """A stack whose parameter is in what it makes, as the real one's is."""
    template = {
        "Parameters": {"StepVersion": {"Type": "String", "Default": "none"}, "OtherVersion": {"Type": "String", "Default": "none"}},
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": {"Ref": "StepVersion"}}}},
        "Outputs": {key: {"Value": value} for key, value in outputs.items()},
    }
    client: Any = boto3.client("cloudformation")
    client.create_stack(
        StackName=STACK,
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": "OtherVersion", "ParameterValue": "kept"}],
    )


def publish(
    deployment: Deployment,
    folder: Path,
    *,
    name: str = "step",
    archive: bool = True,
    max_batch: int = 32,
    example: object = EXAMPLE,
    **changes: Any,
) -> Manifest:
    registry: Registry = deployment.registry()
    files = {MODEL_FILE: folder / "model.onnx", paths.EXAMPLE_FILE: folder / "example.json"}
    if archive:
        files[ARCHIVE_FILE] = folder / "model.tar.gz"
    for file in files.values():
        file.write_bytes(b"model")
    files[paths.EXAMPLE_FILE].write_text(json.dumps(example))
    if example is None:
        del files[paths.EXAMPLE_FILE]
    return registry.publish(replace(draft(name), max_batch=max_batch if archive else None, **changes), files)


def prepared(
    deployment: Deployment, manifest: Manifest, *, alias: str = "production", wait: float = 60, force: bool = False
) -> tuple[Said, Said, bool]:
    steps, notes = Said(), Said()
    forced = endpoints.prepare(deployment, manifest, alias=alias, progress=steps, note=notes, wait=wait, pause=0, force=force)
    return steps, notes, forced


class Runtime:
    """SageMaker's runtime as boto3 tells of it: answers in order, then the last again."""

    def __init__(self, *answers: Exception | Callable[[Stubber], None]) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def invoke_endpoint(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        client: Any = boto3.client("sagemaker-runtime")
        with Stubber(client) as stub:
            answer(stub)
            answered: dict[str, Any] = client.invoke_endpoint(**asked)
        return answered


def answers(stub: Stubber) -> None:
    stub.add_response("invoke_endpoint", {"Body": b"{}"})


def refuses(code: str, *, status: int = 400, original: int | None = None, message: str = "because") -> Callable[[Stubber], None]:
    more = {} if original is None else {"OriginalStatusCode": original, "OriginalMessage": message}
    return lambda stub: stub.add_client_error("invoke_endpoint", code, message, status, modeled_fields=more)


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Runtime]:
    def install(*given: Any) -> Runtime:
        made = Runtime(*given)
        real = Deployment.client
        monkeypatch.setattr(
            Deployment, "client", lambda self, service, *rest: made if service == "sagemaker-runtime" else real(self, service, *rest)
        )
        return made

    return install


def test_a_model_that_its_function_runs_needs_no_endpoint(deployment: Deployment, tmp_path: Path, runtime: Callable[..., Runtime]) -> None:
    deploy({"GpuEndpoint": ENDPOINT})
    asked = runtime(answers).asked
    model_folder(tmp_path / "models")
    assert prepared(deployment, publish(deployment, tmp_path)) == ([], [], False)  # whatever the version holds
    assert prepared(deployment, publish(deployment, tmp_path, name="other", archive=False)) == ([], [], False)
    assert asked == []


def heavy(folder: Path, gpu: str = "") -> None:
    model_folder(folder / "models", toml=TOML.replace("labels", 'target = "gpu"\nlabels') + f"\n[gpu]\n{gpu}")


def test_a_version_without_an_archive_is_told_how_to_get_one(deployment: Deployment, tmp_path: Path) -> None:
    heavy(tmp_path)
    with pytest.raises(UsageFailed, match=r"has no model\.tar\.gz.*`modelctl publish step --deployment prod` makes a version that has one"):
        prepared(deployment, publish(deployment, tmp_path, archive=False))


@pytest.mark.parametrize("gpu", ["", 'mode = "async"'])
@pytest.mark.parametrize("stack", [None, {"NextCommand": "x"}])
def test_without_an_endpoint_a_note_says_what_makes_one(
    deployment: Deployment, tmp_path: Path, gpu: str, stack: dict[str, str] | None
) -> None:
    if stack:
        deploy(stack)
    heavy(tmp_path, gpu)
    _, (note,), _ = prepared(deployment, publish(deployment, tmp_path, max_batch=0))
    assert "answers 503 until there is one; run: cdk deploy 'prod/*' -c gpu=on" in note


def test_a_realtime_version_is_asked_its_example_as_triton_takes_it(
    deployment: Deployment, tmp_path: Path, runtime: Callable[..., Runtime]
) -> None:
    deploy({"GpuEndpoint": ENDPOINT})
    heavy(tmp_path)
    made = runtime(answers)
    row = {"name": "row", "datatype": "INT64", "shape": [1], "data": [7]}
    inputs = (*draft().inputs, TensorSpec(name="row", datatype="INT64", shape=(-1,)))
    manifest = publish(deployment, tmp_path, example={"inputs": [*EXAMPLE["inputs"], row]}, inputs=inputs)
    (step,), notes, forced = prepared(deployment, manifest, alias="canary")
    (asked,) = made.asked
    assert (asked["EndpointName"], asked["TargetModel"]) == (ENDPOINT, f"step/versions/{manifest.version}/model.tar.gz")
    header = int(asked["ContentType"].rpartition("=")[2])
    document = json.loads(asked["Body"][:header])
    assert [(each["name"], each["shape"]) for each in document["inputs"]] == [("input", [1, 2]), ("row", [1, 1])]
    assert [each["name"] for each in document["outputs"]] == ["label"]
    assert len(asked["Body"]) == header + 8 + 8
    assert ("waiting for endpoint serverless-onnx-prod" in step, notes, forced) == (True, [], False)


WAITS = {
    "not ready": refuses("ModelNotReadyException", status=429),
    "throttled": refuses("ThrottlingException"),
    "unavailable": refuses("ServiceUnavailable", status=503),
    "broken": refuses("InternalFailure", status=500),
    "dependency": refuses("InternalDependencyException", status=530),
    "no answer in 60 s": refuses("ModelError", status=424, original=0),
    "no room": refuses("ModelError", status=424, original=507),
    "container starts": refuses("ModelError", status=424, original=503),
    "network": ConnectTimeoutError(endpoint_url="https://runtime"),
}


@pytest.mark.parametrize("answer", WAITS.values(), ids=WAITS)
def test_what_passes_is_waited_for(deployment: Deployment, tmp_path: Path, runtime: Callable[..., Runtime], answer: Any) -> None:
    deploy({"GpuEndpoint": ENDPOINT})
    heavy(tmp_path)
    made = runtime(answer, answer, answers)
    assert prepared(deployment, publish(deployment, tmp_path))[1:] == ([], False)
    assert len(made.asked) == 3


@pytest.mark.parametrize("answer", WAITS.values(), ids=WAITS)
def test_what_does_not_pass_in_time_refuses_the_promotion(
    deployment: Deployment, tmp_path: Path, runtime: Callable[..., Runtime], answer: Any
) -> None:
    deploy({"GpuEndpoint": ENDPOINT})
    heavy(tmp_path)
    runtime(answer)
    with pytest.raises(EndpointFailed, match=r"step was not promoted to .*did not answer within 0 s .*longer with --wait SECONDS"):
        prepared(deployment, publish(deployment, tmp_path), wait=0)


@pytest.mark.parametrize(
    "answer",
    [
        refuses("ModelError", status=424, original=400, message="load failed: INVALID_PROTOBUF"),
        refuses("ValidationError", message="INVALID_PROTOBUF"),
    ],
)
def test_what_waiting_does_not_cure_refuses_it_at_once_with_the_reason(
    deployment: Deployment, tmp_path: Path, runtime: Callable[..., Runtime], answer: Any
) -> None:
    deploy({"GpuEndpoint": ENDPOINT})
    heavy(tmp_path)
    made = runtime(answer)
    manifest = publish(deployment, tmp_path)
    with pytest.raises(EndpointFailed, match=rf"INVALID_PROTOBUF.*modelctl promote step {manifest.version} --force"):
        prepared(deployment, manifest)
    assert len(made.asked) == 1
    _, (note,), forced = prepared(deployment, manifest, force=True)
    assert ("INVALID_PROTOBUF" in note, forced) == (True, True)


def test_a_version_without_an_example_is_not_asked(deployment: Deployment, tmp_path: Path, runtime: Callable[..., Runtime]) -> None:
    deploy({"GpuEndpoint": ENDPOINT})
    made = runtime(answers)
    _, (note,), _ = prepared(deployment, publish(deployment, tmp_path, example=None))
    assert ("has no example.json" in note, made.asked) == (True, [])


def parameters() -> dict[str, str]:
    client: Any = boto3.client("cloudformation")
    (stack,) = client.describe_stacks(StackName=STACK)["Stacks"]
    return {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}


def test_an_async_models_endpoint_is_updated_and_the_others_stay(deployment: Deployment, tmp_path: Path) -> None:
    deploy({"AsyncEndpoints": json.dumps(ASYNC)})
    manifest = publish(deployment, tmp_path, max_batch=0)
    (step,), notes, forced = prepared(deployment, manifest)
    assert parameters() == {"StepVersion": manifest.version, "OtherVersion": "kept"}
    assert (STACK in step, notes, forced) == (True, [], False)
    prepared(deployment, manifest)  # what it runs already is no update
    assert parameters()["StepVersion"] == manifest.version


def test_no_other_alias_has_an_async_endpoint(deployment: Deployment, tmp_path: Path) -> None:
    deploy({"AsyncEndpoints": json.dumps(ASYNC)})
    assert prepared(deployment, publish(deployment, tmp_path), alias="canary") == ([], [], False)
    assert parameters()["StepVersion"] == "none"


class CloudFormation:
    """A stack that passes through `statuses`."""

    def __init__(self, *statuses: str, error: str | None = None) -> None:
        self.statuses = list(statuses)
        self.updates: list[dict[str, Any]] = []
        self.error = error
        self.runs = "none"
        self.reverted = False
        """Whether what it ran before is what it runs after an update."""
        self.rival: str | None = None
        """What somebody else's update, right after one of ours, makes it run."""

    def describe_stacks(self, **_: str) -> dict[str, Any]:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        outputs = [{"OutputKey": "AsyncEndpoints", "OutputValue": json.dumps(ASYNC)}]
        return {
            "Stacks": [
                {"StackStatus": status, "Parameters": [{"ParameterKey": "StepVersion", "ParameterValue": self.runs}], "Outputs": outputs}
            ]
        }

    def update_stack(self, **asked: Any) -> None:
        self.updates.append(asked)
        if not self.reverted:
            self.runs = self.rival or asked["Parameters"][-1]["ParameterValue"]
        if self.error:
            client: Any = boto3.client("cloudformation")
            with Stubber(client) as stub:
                stub.add_client_error("update_stack", "ValidationError", self.error)
                client.update_stack(StackName="x")

    def describe_stack_events(self, **_: str) -> dict[str, Any]:
        def event(resource: str, status: str, reason: str = "") -> dict[str, str]:
            place = "stack" if resource == STACK else "other"
            return {
                "LogicalResourceId": resource,
                "ResourceStatus": status,
                "ResourceStatusReason": reason,
                "PhysicalResourceId": place,
                "StackId": "stack",
            }

        newest_first = [
            event(STACK, "UPDATE_ROLLBACK_COMPLETE"),
            event("Alarm", "UPDATE_FAILED", "Resource update cancelled"),
            event("StepEndpoint", "UPDATE_FAILED", "the container did not pass its health check"),
            event(STACK, "UPDATE_IN_PROGRESS", "User Initiated"),
            event("Role", "CREATE_FAILED", "of last year"),
        ]
        return {"StackEvents": newest_first}


@pytest.fixture
def cloudformation(monkeypatch: pytest.MonkeyPatch) -> Callable[..., CloudFormation]:
    def install(*statuses: str, error: str | None = None) -> CloudFormation:
        made = CloudFormation(*statuses, error=error)
        real = Deployment.client
        monkeypatch.setattr(
            Deployment, "client", lambda self, service, *rest: made if service == "cloudformation" else real(self, service, *rest)
        )
        return made

    return install


def test_an_update_is_waited_for_and_so_is_one_that_is_under_way(
    deployment: Deployment, tmp_path: Path, cloudformation: Callable[..., CloudFormation]
) -> None:
    made = cloudformation("UPDATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE")
    manifest = publish(deployment, tmp_path, max_batch=0)
    prepared(deployment, manifest)
    (update,) = made.updates
    assert made.statuses == ["UPDATE_COMPLETE"]
    assert (update["UsePreviousTemplate"], update["Parameters"]) == (
        True,
        [{"ParameterKey": "StepVersion", "ParameterValue": manifest.version}],
    )


@pytest.mark.parametrize("status", ["UPDATE_ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED", "UPDATE_FAILED"])
@pytest.mark.parametrize("force", [False, True])
def test_an_update_that_rolls_back_is_an_error_with_its_first_reason(
    deployment: Deployment, tmp_path: Path, cloudformation: Callable[..., CloudFormation], status: str, force: bool
) -> None:
    """Forced or not: the endpoint runs another version than the alias would name."""
    cloudformation("UPDATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_IN_PROGRESS", status).reverted = True
    with pytest.raises(EndpointFailed, match=f"CloudFormation says {status}: StepEndpoint: the container did not pass its health check"):
        prepared(deployment, publish(deployment, tmp_path, max_batch=0), force=force)


def test_nothing_to_update_is_fine(deployment: Deployment, tmp_path: Path, cloudformation: Callable[..., CloudFormation]) -> None:
    made = cloudformation("UPDATE_ROLLBACK_COMPLETE", error="No updates are to be performed.")
    prepared(deployment, publish(deployment, tmp_path, max_batch=0))
    assert len(made.updates) == 1


def test_what_runs_it_already_is_no_update_unless_the_last_one_failed(
    deployment: Deployment, tmp_path: Path, cloudformation: Callable[..., CloudFormation]
) -> None:
    manifest = publish(deployment, tmp_path, max_batch=0)
    for status, updates in (("UPDATE_COMPLETE", 0), ("UPDATE_FAILED", 1)):
        made = cloudformation(status, status, "UPDATE_COMPLETE")
        made.runs = manifest.version
        prepared(deployment, manifest)
        assert len(made.updates) == updates


def test_somebody_elses_update_is_not_taken_for_ones_own(
    deployment: Deployment, tmp_path: Path, cloudformation: Callable[..., CloudFormation]
) -> None:
    cloudformation("UPDATE_COMPLETE").rival = "20261121T000000Z-00000000"
    with pytest.raises(EndpointFailed, match="somebody else has updated it to 20261121T000000Z-00000000"):
        prepared(deployment, publish(deployment, tmp_path, max_batch=0))


def test_what_came_after_an_update_of_ones_own_is_not_ones_failure(
    deployment: Deployment, tmp_path: Path, cloudformation: Callable[..., CloudFormation]
) -> None:
    """Another promoter's update was rolled back, to what ours had made."""
    cloudformation("UPDATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
    prepared(deployment, publish(deployment, tmp_path, max_batch=0))


def test_a_version_for_a_shared_endpoint_has_to_be_published_for_a_queue(deployment: Deployment, tmp_path: Path) -> None:
    deploy({"AsyncEndpoints": json.dumps(ASYNC)})
    with pytest.raises(UsageFailed, match=r'no model\.tar\.gz for mode = "async".*modelctl publish step'):
        prepared(deployment, publish(deployment, tmp_path))


def test_a_service_may_have_an_address_of_its_own_on_this_machine(tmp_path: Path) -> None:
    runtime_url, file = "http://127.0.0.1:2", tmp_path / "deployment.json"
    found = {
        "endpoint_url": "http://127.0.0.1:1",
        "url": "http://127.0.0.1:3/dev",
        "bucket": "store",
        "region": "us-east-1",
        "pid": os.getpid(),
    }
    file.write_text(json.dumps({**found, "endpoints": {"sagemaker-runtime": runtime_url}}))
    local = find("local", file=file)
    urls = [local.client(service).meta.endpoint_url for service in ("sagemaker-runtime", "sagemaker", "s3")]
    assert urls == [runtime_url, "http://127.0.0.1:1", "http://127.0.0.1:1"]
    file.write_text(json.dumps(found))
    assert find("local", file=file).client("sagemaker-runtime").meta.endpoint_url == "http://127.0.0.1:1"
