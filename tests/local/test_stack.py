"""A whole deployment of a small app: CloudFormation, processes, API."""

from __future__ import annotations

import json
import sys
import threading
import urllib.request

import pytest
from botocore.exceptions import ClientError

from tests.local.factories import HANDLER, a_stack, write_assembly
from tools.local.errors import LocalError
from tools.local.stack import BUILD, LocalStack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    cdk_out = write_assembly(tmp_path_factory.mktemp("tiny") / "cdk.out", a_stack("Tiny-dev"), code=HANDLER)
    # Assets are named as in every other run of these tests, so the folder of finished ones must be new.
    with LocalStack(cdk_out, build=tmp_path_factory.mktemp("build"), limit=1) as stack:
        yield stack


def invoke(tiny, payload: bytes, **options):
    (name,) = tiny.environments
    answer = tiny.cloud.client("lambda").invoke(FunctionName=name, Payload=payload, **options)
    return answer, answer["Payload"].read()


def test_the_api_reaches_the_function_under_its_stage(tiny):
    with urllib.request.urlopen(f"{tiny.url}/things/a?b=c", timeout=20) as response:
        event = json.load(response)
    assert (event["path"], event["requestContext"]["stage"]) == ("/things/a", "dev")
    assert event["queryStringParameters"] == {"b": "c"}


def test_variables_are_as_cloudformation_resolved_them(tiny):
    _, payload = invoke(tiny, b'{"do": {"kind": "about"}}')
    environment = json.loads(payload)["environment"]
    assert environment["BUCKET"] == tiny.bucket
    assert tiny.cloud.client("s3").head_bucket(Bucket=environment["BUCKET"])
    assert environment["AWS_ENDPOINT_URL"] == tiny.endpoint_url
    assert environment["AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"] == tiny.runtime_url


def test_the_invoke_api_reaches_the_function(tiny):
    answer, payload = invoke(tiny, b'{"do": {"kind": "answer", "answer": [1, "\\u00e4"]}}')
    assert json.loads(payload) == [1, "ä"]
    assert "FunctionError" not in answer


def test_the_invoke_api_tells_an_error_from_an_answer(tiny):
    answer, payload = invoke(tiny, b'{"do": {"kind": "raise"}}')
    assert answer["FunctionError"] == "Unhandled"
    assert json.loads(payload)["errorType"] == "ValueError"


def test_the_invoke_api_refuses_what_lambda_refuses(tiny):
    with pytest.raises(ClientError, match="RequestTooLargeException"):
        invoke(tiny, json.dumps({"x": "y" * 6 * 2**20}).encode())
    caller = threading.Thread(target=invoke, args=(tiny, b'{"do": {"kind": "sleep", "seconds": 2}}'))
    caller.start()
    (environments,) = tiny.environments.values()
    while not environments.busy:
        assert caller.is_alive()
    with pytest.raises(ClientError, match="TooManyRequestsException"):
        invoke(tiny, b"{}")
    caller.join()


def test_a_bucket_keeps_versions_where_the_template_says_so(tmp_path):
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {"VersioningConfiguration": {"Status": "Enabled"}}}
    cdk_out = write_assembly(tmp_path / "cdk.out", a_stack("Versioned-dev", Bucket=bucket))
    with LocalStack(cdk_out, build=tmp_path / "build") as stack:
        stored = stack.cloud.client("s3").put_object(Bucket=stack.bucket, Key="key", Body=b"")
    assert stored["VersionId"]


def test_what_a_stack_cannot_create_is_named(tmp_path):
    broken = a_stack("Broken-dev", Role={"Type": "AWS::IAM::Role", "Properties": {}})
    with pytest.raises(LocalError, match="Broken-dev"), LocalStack(write_assembly(tmp_path / "cdk.out", broken), build=BUILD):
        pass


def test_a_variable_that_moto_cannot_resolve_is_refused(tmp_path):
    stack = a_stack("Weak-dev")
    variables = {"BUCKET": {"Fn::GetStackOutput": {"StackName": "Other", "OutputName": "Bucket"}}}
    stack.template["Resources"]["Tiny"]["Properties"]["Environment"]["Variables"] = variables
    with (
        pytest.raises(LocalError, match="BUCKET of function Tiny unresolved"),
        LocalStack(write_assembly(tmp_path / "cdk.out", stack), build=BUILD),
    ):
        pass
