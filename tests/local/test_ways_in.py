"""Each door's line of docs/ways-in.md, run as it stands there against the whole app, and what comes out."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []):
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
    (line,) = LINES["An event"]
    (sent,) = re.findall(r"'EventId': '([^']+)'", run(local, line))
    event = heard(local, lambda detail: detail["id"] == sent)
    assert (event["source"], event["detail-type"]) == ("serverless-onnx-dev", "Prediction Made")
    assert event["detail"]["model_name"] == "fruit"
    assert values(event["detail"], "label") == ["orange"]


def test_an_event_that_is_no_request_is_told_as_failed(local):
    entry = {"Source": "orchard", "DetailType": "Fruit Weighed", "Detail": json.dumps({"weight": "heavy", "texture": 0.5})}
    (sent,) = local.cloud.client("events").put_events(Entries=[entry])["Entries"]
    event = heard(local, lambda detail: detail["id"] == sent["EventId"])
    assert event["detail-type"] == "Prediction Failed"
    assert "'heavy' at position 0" in event["detail"]["error"]


def test_what_was_told_can_be_looked_at(local):
    (line,) = [each for each in LINES["To try it"] if "PredictionQueueUrl" in each]
    run(local, LINES["An event"][0])
    told = run(local, line).splitlines()
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
    told: list[tuple[str, str]] = []
    while "p1" not in dict(told):
        event = heard(local, lambda detail: isinstance(detail.get("key"), dict))
        told.append((event["detail"]["key"]["payment"], event["detail-type"]))
    assert sorted(told) == [("broken", "Prediction Failed"), ("p1", "Prediction Made")]
    assert values(event["detail"], "probabilities")[0] >= 0.8


def test_a_function_is_invoked_by_its_name(local):
    (line,) = LINES["A direct invocation"]
    answer = json.loads(run(local, line))
    assert answer["model_name"] == "fruit"
    assert values(answer, "label")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_a_job_is_taken(local):
    (line,) = LINES["Jobs"]
    assert json.loads(run(local, line))["status"] == "queued"


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_an_upload_gets_a_place(local):
    (line,) = LINES["Uploads"]
    assert json.loads(run(local, line)).keys() >= {"id", "url", "headers"}
