"""Each door's line of docs/ways-in.md, run as it stands there against the whole app, and what comes out."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk.assertions import Template

from stacks.settings import DEV
from stacks.ways_in import Webhook
from tools.local.env import variables
from tools.local.stack import LocalStack

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ways-in.md").read_text("utf-8")
LINES = {
    heading: re.findall(r"^```bash\n(.*?)\n```$", section, re.MULTILINE | re.DOTALL)
    for heading, section in re.findall(r"^##+ (.*?)\n(.*?)(?=^##+ |\Z)", PAGE, re.MULTILINE | re.DOTALL)
}
README = (ROOT / "README.md").read_text("utf-8")
SECONDS = 60.0
with_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")


def run(local: LocalStack, line: str) -> str:
    """What a line prints in a shell that has evaluated the first one of the page."""
    told = {**os.environ, **variables(local.describe())}
    here = line.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    done = subprocess.run(["/bin/sh", "-c", here], check=False, capture_output=True, text=True, env=told, cwd=ROOT, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def heard(local: LocalStack, wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The first prediction that is told and wanted; others are passed over."""
    sqs, url = local.cloud.client("sqs"), local.outputs["PredictionQueueUrl"]
    ends = time.monotonic() + SECONDS
    others: list[dict[str, Any]] = []
    while time.monotonic() < ends:
        # One at a time: what is received beside a wanted one would be out of sight for half a minute.
        for message in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            event: dict[str, Any] = json.loads(message["Body"])
            if wanted(event["detail"]):
                return event
            others.append(event)
    raise AssertionError(f"not told within {SECONDS:.0f} s; what was told instead: {others}")


def values(detail: dict[str, Any], output: str) -> list[Any]:
    """Of an output; none where the prediction failed."""
    return next((list(each["data"]) for each in detail.get("outputs", ()) if each["name"] == output), [])


def test_every_line_of_the_readme_opens_its_door(local, tmp_path):
    (script,) = re.findall(r"^## Every way in\n.*?^```bash\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    lines = [line for line in script.splitlines() if "local.env" not in line and "s3://" not in line]  # those look for `make run`
    for name in ("fruit.csv", "scored.csv"):
        lines = [line.replace(f"build/{name}", str(tmp_path / name)) for line in lines]
    shown = run(local, "\n".join(["set -e", *lines]))
    assert all(word in shown for word in ('"status":"queued"', '"method":"PUT"', "arn:aws:states:", "Prediction Made"))
    assert shown.startswith('{"model_name":"fruit"')
    assert json.loads(shown.splitlines()[-1])["outputs"][0]["data"] == ["apple"]
    assert "apple" in (tmp_path / "scored.csv").read_text("utf-8")


def test_an_event_in_is_a_prediction_out(local):
    put, _ = LINES["An event"]
    (sent,) = re.findall(r"'EventId': '([^']+)'", run(local, put))
    event = heard(local, lambda detail: detail["id"] == sent)
    assert (event["source"], event["detail-type"]) == ("serverless-onnx-dev", "Prediction Made")
    assert event["detail"]["model_name"] == "fruit"
    assert f"onnx-dev-{event['detail']['door']}" in {rule["Name"] for rule in local.cloud.client("events").list_rules()["Rules"]}
    assert values(event["detail"], "label") == ["orange"]


def test_an_event_that_is_no_request_is_told_as_failed(local):
    entry = {"Source": "orchard", "DetailType": "Fruit Weighed", "Detail": json.dumps({"weight": "heavy", "texture": 0.5})}
    (sent,) = local.cloud.client("events").put_events(Entries=[entry])["Entries"]
    event = heard(local, lambda detail: detail["id"] == sent["EventId"])
    assert event["detail-type"] == "Prediction Failed"
    assert "'heavy' at position 0" in event["detail"]["error"]


def test_what_was_told_can_be_looked_at(local):
    put, look = LINES["An event"]
    run(local, put)
    told = run(local, look).splitlines()
    assert {json.loads(each)["detail-type"] for each in told} <= {"Prediction Made", "Prediction Failed"}
    assert told


def test_an_object_is_a_request(local):
    (line,) = LINES["An object in S3"]
    run(local, line)
    asked = json.loads((ROOT / "build" / "models" / "fruit" / "example.json").read_text("utf-8"))
    asked["inputs"][0] |= {"shape": [3, 2], "data": [165, 0.1, 110, 0.5, 180, 0.6]}  # which nobody else asks for
    local.cloud.client("s3").put_object(Bucket=local.outputs["DataBucket"], Key="examples/fruit/three.json", Body=json.dumps(asked))
    event = heard(local, lambda detail: detail["model_name"] == "fruit" and len(values(detail, "label")) == 3)
    assert event["detail-type"] == "Prediction Made"
    assert values(event["detail"], "label") == ["apple", "lemon", "orange"]
    assert event["detail"]["object"] == {"bucket": local.outputs["DataBucket"], "key": "examples/fruit/three.json"}


def test_an_object_elsewhere_in_the_bucket_is_none(local):
    local.cloud.client("s3").put_object(Bucket=local.outputs["DataBucket"], Key="elsewhere/fruit/one.json", Body=b"{}")
    local.cloud.client("s3").put_object(Bucket=local.outputs["DataBucket"], Key="examples/fruit/not%20quoted.json", Body=b"{}")
    event = heard(local, lambda detail: "error" in detail)
    assert "'inputs' is missing" in event["detail"]["error"]


def test_a_state_machines_step_is_the_answer(local):
    (line,) = LINES["A step of a state machine"]
    output = json.loads(run(local, line))
    assert output.keys() == {"model_name", "model_version", "outputs"}
    assert values(output, "label") == ["fraud"]


def test_a_step_that_asks_wrongly_ends_by_the_errors_name(local):
    states = local.cloud.client("stepfunctions")
    payment = {"amount": "much", "hour": 3, "payments_today": 4, "new_device": 1, "country": "overseas", "merchant": "fuel"}
    arn = states.start_execution(stateMachineArn=local.outputs["PaymentMachine"], input=json.dumps(payment))["executionArn"]
    ends = time.monotonic() + SECONDS
    while (found := states.describe_execution(executionArn=arn))["status"] == "RUNNING" and time.monotonic() < ends:
        time.sleep(0.2)
    assert (found["status"], found["error"]) == ("FAILED", "InvalidRequest")


def test_a_payment_like_fraud_is_told_and_others_are_not(local):
    dynamodb, table = local.cloud.client("dynamodb"), local.outputs["PaymentTable"]
    numbers = {"amount": 24, "hour": 14, "payments_today": 1, "new_device": 0}
    texts = {"country": "domestic", "merchant": "groceries"}
    usual = {**{name: {"N": str(value)} for name, value in numbers.items()}, **{name: {"S": value} for name, value in texts.items()}}
    dynamodb.put_item(TableName=table, Item={"payment": {"S": "usual"}, **usual})
    dynamodb.put_item(TableName=table, Item={"payment": {"S": "broken"}, **usual, "amount": {"S": "much"}})
    (line,) = LINES["A stream"]
    run(local, line)
    ours = ("usual", "broken", "p17")  # others have lines of their own
    told: list[tuple[str, str]] = []
    while "p17" not in dict(told):
        event = heard(local, lambda detail: isinstance(detail.get("key"), dict) and detail["key"]["payment"] in ours)
        told.append((event["detail"]["key"]["payment"], event["detail-type"]))
    assert sorted(told) == [("broken", "Prediction Failed"), ("p17", "Prediction Made")]
    assert values(event["detail"], "probabilities")[0] >= 0.8


def test_a_function_is_invoked_by_its_name(local):
    (line,) = LINES["A direct invocation"]
    answer = json.loads(run(local, line))
    assert answer["model_name"] == "fruit"
    assert values(answer, "label")


@with_curl
def test_a_job_is_taken_and_its_lines_lead_to_its_result(local):
    line, life = LINES["Jobs"]
    assert json.loads(run(local, line))["status"] == "queued"
    status, result = run(local, life).splitlines()
    assert json.loads(status)["status"] == "succeeded"
    assert values(json.loads(result), "label")


@with_curl
def test_an_upload_is_a_job(local):
    (lines,) = LINES["Uploads"]
    assert json.loads(run(local, lines))["status"] == "queued"


def test_an_upload_is_a_data_set(local):
    upload, look, _ = LINES["Data sets"]  # the last is of `make run`
    run(local, upload)
    ends = time.monotonic() + SECONDS
    while "manifest.json" not in (told := run(local, look)) and time.monotonic() < ends:
        time.sleep(0.5)
    keys = {key.partition("/")[2]: key for key in re.findall(r"^out/fruit/(weighed-[0-9a-f]{16}/.*)$", told, re.MULTILINE)}
    assert {"data/part-00000.csv", "errors.jsonl", "manifest.json"} <= keys.keys()
    part, errors = (read(local, f"out/fruit/{keys[name]}") for name in ("data/part-00000.csv", "errors.jsonl"))
    assert part.splitlines()[0] == "input_0,input_1,label,probabilities"
    assert [row.split(",")[2] for row in part.splitlines()[1:]] == ["apple", "orange", ""]
    assert "heavy" in errors


def read(local: LocalStack, key: str) -> str:
    """An object of the bucket of data sets."""
    body: bytes = local.cloud.client("s3").get_object(Bucket=local.outputs["DataBucket"], Key=key)["Body"].read()
    return body.decode()


@pytest.fixture
def address() -> Iterator[tuple[str, list[str]]]:
    """A URL on loopback, and the paths that were posted to."""
    posts: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posts.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: it is a test."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/told", posts
        server.shutdown()


@pytest.fixture
def webhook(local, address, monkeypatch) -> Iterator[str]:
    """The construct's rule, whose destination is the address, and a queue of what moto posts without: the event. The queue's URL.

    Moto's CloudFormation knows neither connections nor destinations.
    """
    monkeypatch.setenv("MOTO_EVENTS_INVOKE_HTTP", "true")
    stack = Stack(App(), "Webhooks")
    secret = secretsmanager.Secret.from_secret_name_v2(stack, "Secret", "webhook")
    Webhook(stack, "Told", settings=DEV, url="https://example.org/told", secret=secret, clients=["listener"])
    (rule,) = Template.from_stack(stack).find_resources("AWS::Events::Rule").values()
    events, sqs = local.cloud.client("events"), local.cloud.client("sqs")
    queue = sqs.create_queue(QueueName="beside-the-webhook")["QueueUrl"]
    key = {"ApiKeyAuthParameters": {"ApiKeyName": "x-api-key", "ApiKeyValue": "secret"}}
    connection = events.create_connection(Name="told", AuthorizationType="API_KEY", AuthParameters=key)["ConnectionArn"]
    destination = events.create_api_destination(
        Name="told", ConnectionArn=connection, InvocationEndpoint=address[0], HttpMethod="POST", InvocationRateLimitPerSecond=1
    )
    events.put_rule(Name="told", EventPattern=json.dumps(rule["Properties"]["EventPattern"]))
    arns = [
        destination["ApiDestinationArn"],
        sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"],
    ]
    events.put_targets(Rule="told", Targets=[{"Id": str(number), "Arn": arn} for number, arn in enumerate(arns)])
    yield queue
    events.remove_targets(Rule="told", Ids=["0", "1"])
    events.delete_rule(Name="told")
    sqs.delete_queue(QueueUrl=queue)


@with_curl
def test_a_webhook_is_called_when_its_clients_job_ends_and_for_no_other(local, address, webhook):
    _, posts = address
    line, life = LINES["Jobs"]
    run(local, life)  # another client's
    assert posts == []
    key = local.new_client("listener", models=("fruit",))
    accepted = json.loads(run(local, f"MODEL_KEY={key}\n{line}"))
    ends = time.monotonic() + SECONDS
    while not posts and time.monotonic() < ends:
        time.sleep(0.2)
    assert posts == ["/told"]
    (message,) = local.cloud.client("sqs").receive_message(QueueUrl=webhook, WaitTimeSeconds=5, MaxNumberOfMessages=10)["Messages"]
    event = json.loads(message["Body"])
    (shown,) = [json.loads(each) for each in re.findall(r"^```json event\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]
    assert (event.keys(), event["detail"].keys()) == (shown.keys(), shown["detail"].keys())
    assert (event["detail-type"], event["detail"]["client"]) == ("Job Succeeded", "listener")
    assert (event["detail"]["id"], event["detail"]["status_url"]) == (accepted["id"], accepted["status_url"])
