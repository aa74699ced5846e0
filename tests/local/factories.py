"""Small assemblies and functions, shaped as the CDK and AWS shape them."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import Any

from tools.local import packages
from tools.local.assembly import Stack
from tools.local.environments import MAX_ENVIRONMENTS, Environments
from tools.local.functions import Function
from tools.local.roots import TaskRoot
from tools.local.stack import BUILD

HANDLER = dedent("""
    import base64, json, os, sys, time

    def handler(event, context):
        do = json.loads(base64.b64decode(event["body"])) if event.get("body") else event.get("do", {})
        match do.get("kind"):
            case "sleep":
                time.sleep(do["seconds"])
            case "raise":
                raise ValueError("boom")
            case "exit":
                os._exit(3)
            case "fill":
                kept = bytearray(b"x") * (do["megabytes"] * 2**20)
                time.sleep(5)
                return len(kept)
            case "large":
                return "x" * do["bytes"]
            case "import":
                return __import__(do["name"]).__file__
            case "about":
                return {"environment": dict(os.environ), "path": sys.path, "pid": os.getpid(), "flags": sys.flags.isolated}
            case "answer":
                return do["answer"]
        return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": json.dumps(event)}
""")


def a_function(**changes: Any) -> Function:
    """A zip function with little of everything."""
    values: dict[str, Any] = {
        "name": "tiny",
        "logical_id": "Tiny",
        "handler": "app.handler",
        "runtime": "python3.13",
        "image": "",
        "code": "code.zip",
        "layers": (),
        "environment": {"GREETING": "hello"},
        "timeout": 10,
        "memory": 256,
    }
    return Function(**{**values, **changes})


def environments(folder: Path, *, code: str = HANDLER, limit: int = MAX_ENVIRONMENTS, **changes: Any) -> Environments:
    """Of a function whose module `app` is `code`; the caller closes it."""
    task = folder / "task"
    task.mkdir(parents=True, exist_ok=True)
    (task / "app.py").write_text(code)
    root = TaskRoot(folder=task, before=(task,), after=(packages.runtime(BUILD),), handler="app.handler", environment={"GREETING": "image"})
    return Environments(a_function(**changes), root, {"AWS_REGION": "us-east-1"}, folder=folder / "run", limit=limit)


AUTHORIZER = dedent("""
    def handler(event, context):
        word = event["authorizationToken"].removeprefix("Bearer ")
        if word == "stranger":
            raise Exception("Unauthorized")
        if word == "crash":
            raise ValueError("boom")
        api = "/".join(event["methodArn"].split("/")[:2])
        statement = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": [f"{api}/*/things/{word}", f"{api}/*/things/{word}/*"]}
        return {
            "principalId": word,
            "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
            "context": {"word": word, "long": len(word) > 3},
            "usageIdentifierKey": f"{word}-identifier-of-20",
        }
""")
"""Lets in whoever says the word of a thing, and to that thing alone."""


def a_method(
    resource: str | None, function: str = "Tiny", *, method: str = "ANY", authorization: dict[str, Any] | None = None, **integration: Any
) -> dict[str, Any]:
    """A proxy integration; `resource` is a logical id, None the root."""
    uri = {"Fn::Join": ["", ["arn:aws:apigateway:us-east-1:lambda:path/functions/", {"Fn::GetAtt": [function, "Arn"]}, "/invocations"]]}
    return {
        "Type": "AWS::ApiGateway::Method",
        "Properties": {
            "HttpMethod": method,
            "ResourceId": {"Ref": resource} if resource else {"Fn::GetAtt": ["Api", "RootResourceId"]},
            "RestApiId": {"Ref": "Api"},
            **(authorization or {"AuthorizationType": "NONE"}),
            "Integration": {"Type": "AWS_PROXY", "IntegrationHttpMethod": "POST", "Uri": uri, **integration},
        },
    }


BY_KEY = {"AuthorizationType": "CUSTOM", "AuthorizerId": {"Ref": "Keys"}, "ApiKeyRequired": True}


def guarded(**properties: Any) -> dict[str, Any]:
    """What puts `a_stack` behind an authorizer and two usage plans; `properties` are of the authorizer."""
    uri = {"Fn::Join": ["", ["arn:aws:apigateway:us-east-1:lambda:path/functions/", {"Fn::GetAtt": ["Guard", "Arn"]}, "/invocations"]]}
    authorizer = {
        "Type": "TOKEN",
        "Name": "keys",
        "RestApiId": {"Ref": "Api"},
        "AuthorizerUri": uri,
        "IdentitySource": "method.request.header.Authorization",
        "IdentityValidationExpression": "^Bearer [a-z]+$",
        "AuthorizerResultTtlInSeconds": 60,
    }
    function = a_zip_function(Handler="guard.handler")
    return {
        "Api": {
            "Type": "AWS::ApiGateway::RestApi",
            "Properties": {"Name": "tiny", "BinaryMediaTypes": ["*/*"], "ApiKeySourceType": "AUTHORIZER"},
        },
        "Guard": {"Type": "AWS::Lambda::Function", "Properties": function},
        "Keys": {"Type": "AWS::ApiGateway::Authorizer", "Properties": {**authorizer, **properties}},
        "AnyThings": a_method("Things", authorization=BY_KEY),
        "AnyThing": a_method("Thing", authorization=BY_KEY),
        "Slow": a_usage_plan("slow", Throttle={"RateLimit": 0.001, "BurstLimit": 2}),
        "Few": a_usage_plan("few", Quota={"Limit": 3, "Period": "DAY"}),
    }


def a_usage_plan(name: str, **limits: Any) -> dict[str, Any]:
    stages = [{"ApiId": {"Ref": "Api"}, "Stage": {"Ref": "Stage"}}]
    return {"Type": "AWS::ApiGateway::UsagePlan", "Properties": {"UsagePlanName": name, "ApiStages": stages, **limits}}


def a_zip_function(**properties: Any) -> dict[str, Any]:
    return {
        "Code": {"S3Bucket": {"Fn::Sub": "assets-${AWS::AccountId}-${AWS::Region}"}, "S3Key": "code.zip"},
        "Handler": "app.handler",
        "Runtime": "python3.13",
        "Role": {"Fn::GetAtt": ["Role", "Arn"]},
        "Timeout": 10,
        "MemorySize": 256,
        **properties,
    }


def a_resource(part: str, parent: str | None = None) -> dict[str, Any]:
    return {
        "Type": "AWS::ApiGateway::Resource",
        "Properties": {
            "PathPart": part,
            "ParentId": {"Ref": parent} if parent else {"Fn::GetAtt": ["Api", "RootResourceId"]},
            "RestApiId": {"Ref": "Api"},
        },
    }


def a_stack(name: str = "Tiny-dev", **resources: Any) -> Stack:
    """A stack with a role, a zip function, an API and a stage; `resources` are added or put in their place."""
    function = a_zip_function(Environment={"Variables": {"BUCKET": {"Ref": "Bucket"}}})
    policy = {"Statement": [{"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}]}
    standard = {
        "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": policy}},
        "Bucket": {"Type": "AWS::S3::Bucket"},
        "Tiny": {"Type": "AWS::Lambda::Function", "Properties": function},
        "Api": {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Name": "tiny", "BinaryMediaTypes": ["*/*"]}},
        "Stage": {"Type": "AWS::ApiGateway::Stage", "Properties": {"StageName": "dev", "RestApiId": {"Ref": "Api"}}},
        "Things": a_resource("things"),
        "Thing": a_resource("{proxy+}", "Things"),
        "AnyThings": a_method("Things"),
        "AnyThing": a_method("Thing"),
    }
    outputs = {"ModelBucket": {"Value": {"Ref": "Bucket"}}}
    return Stack(name=name, template={"Resources": {**standard, **resources}, "Outputs": outputs})


def write_assembly(cdk_out: Path, *stacks: Stack, code: str = HANDLER) -> Path:
    """A `cdk.out` with deployment `dev`: each stack depends on the one before it."""
    dev = cdk_out / "assembly-dev"
    (cdk_out / "asset.code").mkdir(parents=True)
    (cdk_out / "asset.code" / "app.py").write_text(code)
    (cdk_out / "asset.code" / "guard.py").write_text(AUTHORIZER)
    dev.mkdir()
    artifacts: dict[str, Any] = {}
    for number, stack in enumerate(stacks):
        (dev / f"{stack.name}.template.json").write_text(json.dumps(stack.template))
        artifacts[f"stack{number}"] = {
            "type": "aws:cloudformation:stack",
            "properties": {"templateFile": f"{stack.name}.template.json", "stackName": stack.name},
            "dependencies": [f"stack{number - 1}", "assets"] if number else ["assets"],
        }
    destination = {"bucketName": "assets-${AWS::AccountId}-${AWS::Region}", "objectKey": "code.zip"}
    asset = {"source": {"path": "../asset.code", "packaging": "zip"}, "destinations": {"dev": destination}}
    artifacts["assets"] = {"type": "cdk:asset-manifest", "properties": {"file": "assets.json"}}
    # Written in the wrong order: only dependencies say which stack comes first.
    (dev / "manifest.json").write_text(json.dumps({"artifacts": dict(reversed(artifacts.items()))}))
    (dev / "assets.json").write_text(json.dumps({"files": {"code": asset}}))
    nested = {"type": "cdk:cloud-assembly", "properties": {"directoryName": "assembly-dev"}}
    (cdk_out / "manifest.json").write_text(json.dumps({"artifacts": {"assembly-dev": nested}}))
    return cdk_out
