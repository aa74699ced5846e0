"""The commands that try a deployment, against a server on loopback."""

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner, Result

from models.config import ModelConfig
from tests.unit.modelctl.conftest import BUCKET
from tests.unit.modelctl.factories import deploy, model_folder
from tools.modelctl import console, paths
from tools.modelctl.cli import app
from tools.modelctl.deployment import find
from tools.modelctl.doctor import BOOTSTRAP_PARAMETER, Check, examine

KEY = "sox.local." + "A" * 43
OTHER_KEY = "sox.shop." + "B" * 43
ANSWER = {
    "model_name": "step",
    "model_version": "20261120T174100Z-1a2b3c4d",
    "outputs": [
        {"name": "label", "datatype": "INT64", "shape": [2], "data": [1, 0]},
        {"name": "probabilities", "datatype": "FP32", "shape": [2, 2], "data": [0.1, 0.9, 0.75, 0.25]},
    ],
}


@dataclass
class Api:
    """Answers everything with `status` and `body`, and keeps what it was asked."""

    status: int = 200
    body: bytes = json.dumps(ANSWER).encode()
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""
    before: list[bytes] = field(default_factory=list)
    """Bodies of 202 that come first."""


@pytest.fixture
def api() -> Iterator[Api]:
    found = Api()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found.asked.append((self.command, self.path, dict(self.headers), body))
            status, body = (202, found.before.pop(0)) if found.before else (found.status, found.body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  # the name that the server calls

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))  # how often it looks whether it should end
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/dev"
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, api: Api, moto_url: str) -> Path:
    """What `make run` leaves: a moto server with a bucket, and the file that says where it is."""
    urlopen(Request(f"{moto_url}/moto-api/reset", method="POST")).close()  # its state outlives a test
    client: Any = boto3.client("s3", endpoint_url=moto_url)
    client.create_bucket(Bucket=BUCKET)
    document = {"endpoint_url": moto_url, "url": api.url, "bucket": BUCKET, "region": "us-east-1", "pid": os.getpid(), "key": KEY}
    document["outputs"] = clients_table(moto_url)
    (tmp_path / "deployment.json").write_text(json.dumps(document))
    place(monkeypatch, tmp_path)
    return tmp_path


def clients_table(endpoint: str | None = None) -> dict[str, str]:
    """A table of clients and a usage plan, as the stacks' outputs tell of them."""
    dynamodb: Any = boto3.client("dynamodb", endpoint_url=endpoint)
    dynamodb.create_table(
        TableName="clients",
        KeySchema=[{"AttributeName": "client", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "client", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    apigateway: Any = boto3.client("apigateway", endpoint_url=endpoint)
    plan = apigateway.create_usage_plan(name="standard")["id"]
    return {"ClientTable": "clients", "Plans": json.dumps({"standard": plan})}


@pytest.fixture
def dev(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    with mock_aws():
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")  # moto sets its own
        monkeypatch.setenv("MODEL_KEY", OTHER_KEY)
        place(monkeypatch, tmp_path)
        yield tmp_path


def place(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    (root / "models").mkdir()
    monkeypatch.setattr(paths, "MODELS", root / "models")
    monkeypatch.setattr(paths, "BUILD", root / "build")
    monkeypatch.setattr("tools.modelctl.deployment.LOCAL_DEPLOYMENT", root / "deployment.json")
    monkeypatch.setattr(console.out, "width", 240)


def run(*arguments: str, code: int = 0, stdin: str | None = None) -> Result:
    result = CliRunner().invoke(app, arguments, input=stdin)
    assert result.exit_code == code, result.output
    return result


REQUEST = '{"inputs": [{"name": "input", "datatype": "FP32", "shape": [2, 1], "data": [0.5, -0.5]}]}'


def test_predict_sends_the_file_as_it_is_and_shows_a_row_for_each_row(local: Path, api: Api) -> None:
    model_folder(local / "models")
    (local / "request.json").write_text(REQUEST)
    shown = run("predict", "step", "--input", str(local / "request.json")).stdout
    method, path, headers, body = api.asked[0]
    assert (method, path, body) == ("POST", "/dev/v2/models/step/infer", REQUEST.encode())
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert "high 90.0%, low 10.0%" in shown
    assert "low 75.0%, high 25.0%" in shown
    assert "1 (high)" in shown


def test_predict_reads_stdin_and_prints_json(local: Path, api: Api) -> None:
    assert json.loads(run("predict", "step", "--input", "-", "--json", stdin=REQUEST).stdout) == ANSWER
    assert api.asked[0][3] == REQUEST.encode()


def test_predict_without_a_file_sends_the_example_of_training(local: Path, api: Api) -> None:
    model_folder(local / "models")
    run("train", "step")
    run("predict", "step")
    assert api.asked[0][3] == (local / "build" / "step" / "example.json").read_bytes()


JOB = json.dumps({"id": "1f", "model_name": "step", "model_version": "v", "status_url": "/v2/models/step/jobs/1f"}).encode()


def test_predict_waits_for_the_answer_of_a_job(local: Path, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.modelctl.api._POLL_SECONDS", 0.01)
    api.before = [JOB, JOB]
    assert json.loads(run("predict", "step", "--input", "-", "--json", stdin=REQUEST).stdout) == ANSWER
    paths = [(method, path) for method, path, _, _ in api.asked]
    assert paths == [("POST", "/dev/v2/models/step/infer"), *[("GET", "/dev/v2/models/step/jobs/1f")] * 2]


def test_predict_that_stops_waiting_says_where_the_answer_will_be(local: Path, api: Api) -> None:
    api.before = [JOB]
    said = run("predict", "step", "--input", "-", "--wait", "0", stdin=REQUEST, code=1).stderr
    assert "its answer will be at /v2/models/step/jobs/1f" in said


def test_predict_that_can_not_ask_for_a_job_again_says_which_it_was(local: Path, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.modelctl.api._POLL_SECONDS", 0.01)
    api.before, api.status, api.body = [JOB], 429, b'{"error": "too many"}'
    said = run("predict", "step", "--input", "-", stdin=REQUEST, code=1).stderr
    assert "the API answered 429: too many. That was asked of /v2/models/step/jobs/1f" in said


@pytest.mark.parametrize("given", [(), ("--key", KEY)], ids=["MODEL_KEY", "--key"])
def test_predict_on_aws_is_called_with_the_key_that_is_given(dev: Path, api: Api, given: tuple[str, ...]) -> None:
    deploy("Store", {"ModelBucket": "store-bucket"})
    deploy("Serving", {"ApiUrl": api.url + "/"})
    run("predict", "step", "--input", "-", "--deployment", "dev", *given, stdin=REQUEST)
    assert api.asked[0][2]["Authorization"] == f"Bearer {given[1] if given else OTHER_KEY}"


def test_predict_on_this_machine_can_be_another_client(local: Path, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_KEY", "of another deployment")
    run("predict", "step", "--input", "-", stdin=REQUEST)
    run("predict", "step", "--input", "-", "--key", OTHER_KEY, stdin=REQUEST)
    assert [headers["Authorization"] for _, _, headers, _ in api.asked] == [f"Bearer {KEY}", f"Bearer {OTHER_KEY}"]


def test_predict_without_a_key_says_which_command_shows_one(dev: Path, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODEL_KEY")
    deploy("Store", {"ModelBucket": "store-bucket"})
    deploy("Serving", {"ApiUrl": api.url + "/"})
    said = run("-d", "dev", "predict", "step", "--input", "-", stdin=REQUEST, code=1).stderr
    assert "modelctl client create NAME" in said
    assert api.asked == []


@pytest.mark.parametrize("key", [KEY[:-1], f"Bearer {KEY}", KEY + "\n", "AKIAEXAMPLE"])
def test_what_is_no_key_is_neither_sent_nor_repeated(local: Path, api: Api, key: str) -> None:
    said = run("predict", "step", "--input", "-", "--key", key, stdin=REQUEST, code=1).stderr
    assert "no client's key" in said
    assert key[:12] not in said
    assert api.asked == []


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, b'{"error": "input has 3 columns, expected 2"}', "the API answered 400: input has 3 columns, expected 2"),
        (401, b'{"error": "no valid key"}', "the API answered 401: no valid key; `modelctl client list` shows"),
        (403, b'{"error": "not yours"}', "the API answered 403: not yours; `modelctl client list` shows which models"),
        (
            404,
            b'{"error": "no model"}',
            "the API answered 404: no model; `modelctl doctor` names what is not deployed, such as",
        ),
        (403, b'{"message": "Missing Authentication Token"}', "the API answered 403: Missing Authentication Token"),
        (502, b"<html>", "the API answered 502: not JSON"),
    ],
)
def test_predict_tells_what_the_api_said(local: Path, api: Api, status: int, body: bytes, expected: str) -> None:
    api.status, api.body = status, body
    assert expected in run("predict", "step", "--input", "-", stdin=REQUEST, code=1).stderr


@pytest.mark.parametrize(("name", "content", "expected"), [("none.json", None, "can't be read"), ("bad.json", "{", "is not JSON")])
def test_predict_refuses_a_file_that_is_no_request(local: Path, api: Api, name: str, content: str | None, expected: str) -> None:
    if content:
        (local / name).write_text(content)
    assert expected in run("predict", "step", "--input", str(local / name), code=1).stderr
    assert api.asked == []


def test_predict_before_serving_is_deployed_says_so(dev: Path) -> None:
    deploy("Store", {"ModelBucket": "store-bucket"})
    assert "no API yet" in run("-d", "dev", "predict", "step", "--input", "-", stdin=REQUEST, code=1).stderr


def test_an_unreachable_api_is_told_in_a_sentence(local: Path, api: Api) -> None:
    document = json.loads((local / "deployment.json").read_text())
    (local / "deployment.json").write_text(json.dumps({**document, "url": "http://127.0.0.1:9/dev"}))
    result = run("predict", "step", "--input", "-", stdin=REQUEST, code=1)
    assert "could not be reached" in result.stderr
    assert "Traceback" not in result.output


def test_the_whole_life_of_a_model_on_this_machine(local: Path, api: Api) -> None:
    """Through the endpoint of `make run`, and by the name of this machine's user; a folder is served by the next `make run`."""
    model_folder(local / "models")
    run("publish", "step")
    api.body = b'{"models": ["other"]}'
    promoted = run("promote", "step", "latest")
    assert "nothing serves step yet" in promoted.stderr
    assert promoted.stdout.splitlines()[-1] == "Next: stop `make run`, then: make run"
    for api.status, api.body in ((200, b'{"models": ["step"]}'), (503, b"{}")):
        assert "Next: modelctl predict step" in run("promote", "step", "latest").stdout
    (event,) = find("local").registry().history("step")
    assert not event.by.startswith("arn:")


def test_doctor_of_this_machine_leads_from_one_missing_thing_to_the_next(local: Path, api: Api) -> None:
    model_folder(local / "models")
    api.body = b'{"models": []}'
    assert "modelctl publish step" in run("doctor", code=1).stdout
    run("publish", "step")
    assert "modelctl promote step latest" in run("doctor", code=1).stdout
    run("promote", "step", "latest")
    assert "Next: modelctl client create NAME --models '*'" in run("doctor", code=1).stdout
    run("client", "create", "local", "--models", "*")
    assert "Next: stop `make run`, then: make run" in run("doctor", code=1).stdout
    api.body = b'{"models": ["step"]}'
    assert "missing" not in run("doctor").stdout


def test_doctor_without_make_run_says_make_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place(monkeypatch, tmp_path)
    (check,) = json.loads(run("doctor", "--json", code=1).stdout)
    assert (check["state"], check["fix"]) == ("fail", "make run (in another terminal)")


def missing(models: tuple[ModelConfig, ...] = ()) -> dict[str, str]:
    return {check.what: check.fix for check in examine("dev", models) if check.state == "fail"}


def checks(*models: ModelConfig) -> dict[str, Check]:
    return {check.what: check for check in examine("dev", models)}


def test_doctor_of_an_empty_account_names_bootstrap_and_deploy(dev: Path) -> None:
    found = missing()
    assert found["CDK bootstrap"] == "cdk bootstrap"
    assert found["stack Store"] == found["stack Serving"] == found["deployment"] == "cdk deploy 'dev/*'"


def test_doctor_looks_for_what_runs_jobs_where_a_model_can_be_run(dev: Path) -> None:
    """A heavy model's jobs are SageMaker's."""
    light, heavy = (ModelConfig.model_validate({"name": "one", "task": "regression", "target": target}) for target in ("lambda", "gpu"))
    assert "stack Batch" not in checks(heavy)
    assert (checks(light, heavy)["stack Batch"].state, checks(light)["stack Batch"].fix) == ("fail", "cdk deploy 'dev/*'")
    deploy("Batch", {"HighQueueUrl": "https://sqs.example/high"})
    assert checks(light)["stack Batch"].found == "ServerlessOnnx-dev-Batch"


def test_doctor_without_a_region_stops_there(dev: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert missing() == {"region": "export AWS_REGION=us-east-1"}


def test_doctor_without_credentials_stops_there(dev: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.session.Session.get_credentials", lambda _: None)
    assert missing() == {"credentials": "aws configure sso"}


def test_doctor_is_content_with_a_deployment_that_works(dev: Path, api: Api) -> None:
    client: Any = boto3.client("ssm")
    client.put_parameter(Name=BOOTSTRAP_PARAMETER, Value="30", Type="String")
    deploy_whole(api)
    find("dev").clients().create("shop", models=("step",), plan="standard", by="me")
    api.body = b'{"ready": true}'
    assert missing() == {}
    assert [path for _, path, _, _ in api.asked] == ["/dev/v2/models", "/dev/v2/health/ready"]


def deploy_whole(api: Api) -> None:
    outputs = clients_table()
    deploy("Store", {"ModelBucket": "store-bucket", "ClientTable": outputs["ClientTable"]})
    deploy("Serving", {"ApiUrl": api.url + "/", "Plans": outputs["Plans"]})


def test_doctor_leads_to_the_first_client_and_back_into_its_plan(dev: Path, api: Api) -> None:
    deploy_whole(api)
    assert checks()["clients"].fix == "modelctl client create NAME --models '*' --deployment dev"
    clients = find("dev").clients()
    clients.create("gone", models=("*",), plan="standard", by="me")
    clients.revoke("gone")
    assert checks()["clients"].state == "fail"
    clients.create("shop", models=("*",), plan="standard", by="me")
    assert checks()["clients"].found == "1 may call the API"
    gateway: Any = boto3.client("apigateway")
    (key,) = gateway.get_api_keys()["items"]
    gateway.delete_usage_plan_key(usagePlanId=find("dev").plans["standard"], keyId=key["id"])
    assert checks()["client shop"].fix == "modelctl client update shop --deployment dev"


def test_doctor_without_a_key_still_tells_the_rest(dev: Path, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODEL_KEY")
    deploy_whole(api)
    found = checks()
    assert (found["API"].state, found["API"].fix) == ("warn", "export MODEL_KEY=...")
    assert found["clients"].state == "fail"
    assert api.asked == []


def test_doctor_misses_no_model_that_the_keys_client_may_not_call(dev: Path, api: Api) -> None:
    deploy_whole(api)
    find("dev").clients().create("shop", models=("step",), plan="standard", by="me")
    api.body = b'{"models": ["step"]}'
    other = ModelConfig.model_validate({"name": "other", "task": "regression"})
    assert "function other" not in checks(config(), other)


def test_doctor_that_may_not_see_clients_only_warns(dev: Path, api: Api) -> None:
    deploy("Store", {"ModelBucket": "store-bucket"})
    deploy("Serving", {"ApiUrl": api.url + "/"})
    assert checks()["clients"].state == "warn"


def test_doctor_names_a_model_that_is_not_deployed_yet(dev: Path, api: Api) -> None:
    """Its folder is newer than the deployment: it can be promoted, but nothing answers with it."""
    deploy("Store", {"ModelBucket": "store-bucket"})
    deploy("Serving", {"ApiUrl": api.url + "/"})
    boto3.client("s3").create_bucket(Bucket="store-bucket")
    api.body = b'{"models": ["step"]}'
    other = ModelConfig.model_validate({"name": "other", "task": "regression"})
    found = checks(config(), other)
    assert "function step" not in found
    assert (found["function other"].state, found["function other"].fix) == ("fail", "cdk deploy 'dev/*'")
    assert found["API"].state == "ok"


def config(**function: int) -> ModelConfig:
    return ModelConfig.model_validate({"name": "step", "task": "regression", "function": function})


def test_doctor_warns_of_memory_that_new_accounts_lack(dev: Path) -> None:
    assert checks(config(memory=4096))["Lambda memory"].state == "warn"
    assert checks(config(memory=1769))["Lambda memory"].state == "ok"


def test_doctor_warns_of_an_account_with_little_concurrency(dev: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings(monkeypatch, concurrency=10)
    found = checks(config())["Lambda concurrency"]
    assert (found.state, "request-service-quota-increase" in found.fix) == ("warn", True)


@pytest.mark.parametrize(("reserved", "state"), [(900, "ok"), (901, "fail")])
def test_doctor_refuses_reservations_that_lambda_would_refuse(
    dev: Path, monkeypatch: pytest.MonkeyPatch, reserved: int, state: str
) -> None:
    settings(monkeypatch, concurrency=1000)
    assert checks(config(reserved_concurrency=reserved))["Lambda concurrency"].state == state


def settings(monkeypatch: pytest.MonkeyPatch, *, concurrency: int) -> None:
    """moto always answers 1,000."""
    import botocore.client

    real = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]

    def call(self: Any, operation: str, parameters: Any) -> Any:
        if operation == "GetAccountSettings":
            return {"AccountLimit": {"ConcurrentExecutions": concurrency}}
        return real(self, operation, parameters)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", call)
