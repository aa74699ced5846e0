"""What the API promises before any function runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aws_cdk.assertions import Match

from modelserve.settings import BEARER_PATTERN
from stacks.settings import DEV, DeploymentSettings
from tests.stacks.factories import Templates, a_model, properties, text

pytestmark = pytest.mark.xdist_group("stacks")

ORIGIN = "https://example.org"


@pytest.fixture(scope="module")
def with_cors(synthesized):
    return synthesized(DeploymentSettings(name="dev", cors_origin=ORIGIN))


def routes(templates: Templates) -> dict[tuple[str, str], dict[str, Any]]:
    """Every method of the API by its name and path."""
    resources = templates.serving.to_json()["Resources"]

    def path(reference: dict[str, Any]) -> str:
        if "Ref" not in reference:
            return ""  # the API's root
        of = resources[reference["Ref"]]["Properties"]
        return f"{path(of['ParentId'])}/{of['PathPart']}"

    methods = properties(templates.serving, "AWS::ApiGateway::Method")
    return {(method["HttpMethod"], path(method["ResourceId"])): method for method in methods}


def responses(templates: Templates) -> dict[str, dict[str, Any]]:
    return {each["ResponseType"]: each for each in properties(templates.serving, "AWS::ApiGateway::GatewayResponse")}


def test_the_api_is_regional_and_takes_any_bytes(dev):
    dev.serving.has_resource_properties(
        "AWS::ApiGateway::RestApi", {"EndpointConfiguration": {"Types": ["REGIONAL"]}, "BinaryMediaTypes": ["*/*"]}
    )


def test_bodies_are_not_compressed_by_the_gateway(dev):
    """A request that it decompressed could grow over Lambda's limit."""
    dev.serving.has_resource_properties("AWS::ApiGateway::RestApi", {"MinimumCompressionSize": Match.absent()})


def test_a_model_is_two_resources_and_the_catalog_takes_the_rest(dev):
    found = {path: text(method["Integration"]["Uri"]) for (_, path), method in routes(dev).items()}
    functions = {"<fruit": "fruit", "<Catalog": "catalog", "<Jobs": "jobs"}
    targets = {path: next(name for function, name in functions.items() if function in uri) for path, uri in found.items()}
    assert targets == {
        "/v2": "catalog",
        "/v2/{proxy+}": "catalog",
        "/v2/models": "catalog",
        "/v2/models/{proxy+}": "catalog",
        "/v2/models/fruit": "fruit",
        "/v2/models/fruit/{proxy+}": "fruit",
        "/v2/jobs/{proxy+}": "jobs",
        "/v2/uploads": "jobs",
    }


def authorizer(templates: Templates) -> tuple[str, dict[str, Any]]:
    ((name, found),) = templates.serving.find_resources("AWS::ApiGateway::Authorizer").items()
    return name, found["Properties"]


def test_every_method_wants_a_clients_key(dev):
    name, _ = authorizer(dev)
    wanted = {
        (method, each["AuthorizationType"], text(each["AuthorizerId"]), each["ApiKeyRequired"]) for (method, _), each in routes(dev).items()
    }
    assert wanted == {("ANY", "CUSTOM", f"<{name}>", True)}


def test_what_a_client_is_metered_by_opens_nothing(dev):
    """API Gateway takes it from the authorizer's answer, never from a request's header."""
    dev.serving.has_resource_properties("AWS::ApiGateway::RestApi", {"ApiKeySourceType": "AUTHORIZER"})


def test_a_malformed_key_is_refused_before_a_function_runs(dev):
    _, found = authorizer(dev)
    assert (found["Type"], found["IdentitySource"]) == ("TOKEN", "method.request.header.Authorization")
    assert found["IdentityValidationExpression"] == BEARER_PATTERN


def test_a_revoked_key_is_worth_nothing_after_a_minute(dev):
    assert authorizer(dev)[1]["AuthorizerResultTtlInSeconds"] == 60


def test_the_authorizer_is_the_functions_own(dev):
    """No role lies between: API Gateway calls it by a permission that names this authorizer."""
    name, found = authorizer(dev)
    assert "AuthorizerCredentials" not in found
    ((function, _),) = dev.serving.find_resources(
        "AWS::Lambda::Function", {"Properties": {"Description": Match.string_like_regexp("^authorizer")}}
    ).items()
    assert f"functions/<{function}.Arn>/invocations" in text(found["AuthorizerUri"])
    (permission,) = properties(dev.serving, "AWS::Lambda::Permission", with_={"FunctionName": {"Fn::GetAtt": [function, "Arn"]}})
    assert text(permission["SourceArn"]).endswith(f"/authorizers/<{name}>")


def test_every_plan_is_a_tier_of_its_own(dev):
    (stage_name,) = dev.serving.find_resources("AWS::ApiGateway::Stage")
    plans = properties(dev.serving, "AWS::ApiGateway::UsagePlan")
    assert all(plan["ApiStages"][0]["Stage"] == {"Ref": stage_name} for plan in plans)
    limits = [(each["Throttle"]["RateLimit"], each["Throttle"]["BurstLimit"], each.get("Quota")) for each in plans]
    assert limits == [
        (
            plan.requests_per_second,
            plan.burst,
            {"Limit": plan.requests_per_day, "Period": "DAY"} if plan.requests_per_day else None,
        )
        for plan in DEV.plans
    ]


def test_modelctl_finds_the_plans_by_name(dev):
    value = json.loads(text(dev.serving.to_json()["Outputs"]["Plans"]["Value"]))
    found = dev.serving.find_resources("AWS::ApiGateway::UsagePlan")
    names = {logical_id: each["Properties"]["UsagePlanName"].rpartition("-")[2] for logical_id, each in found.items()}
    assert value == {name: f"<{logical_id}>" for logical_id, name in names.items()}
    assert value.keys() == {plan.name for plan in DEV.plans}


def test_functions_get_the_request_as_it_came(dev):
    assert {each["Integration"]["Type"] for each in routes(dev).values()} == {"AWS_PROXY"}


def stage(templates: Templates) -> dict[str, Any]:
    (found,) = properties(templates.serving, "AWS::ApiGateway::Stage")
    return found


def test_the_stage_is_named_after_the_deployment(dev):
    assert stage(dev)["StageName"] == "dev"


def test_no_trace_keeps_the_url_of_a_request(dev):
    """API Gateway's segment would; a caller may write anything into a path."""
    assert stage(dev)["TracingEnabled"] is False


def test_requests_are_throttled(dev):
    (every,) = stage(dev)["MethodSettings"]
    assert (every["HttpMethod"], every["ResourcePath"]) == ("*", "/*")
    assert (every["ThrottlingRateLimit"], every["ThrottlingBurstLimit"]) == (DEV.requests_per_second, DEV.burst)


def test_payloads_are_not_logged(dev):
    (every,) = stage(dev)["MethodSettings"]
    assert every["DataTraceEnabled"] is False
    assert every.get("LoggingLevel", "OFF") == "OFF"


def test_access_is_logged_as_json(dev):
    setting = stage(dev)["AccessLogSetting"]
    assert {"requestId", "client", "status", "latencyMs"} <= json.loads(setting["Format"]).keys()
    group = setting["DestinationArn"]["Fn::GetAtt"][0]
    assert dev.serving.to_json()["Resources"][group]["Properties"]["RetentionInDays"] == 30


CALLERS_WORDS = (
    "$context.path",
    "$context.error.message",  # of a malformed Authorization header repeats the header
    "$context.integrationErrorMessage",
    "$context.identity.userAgent",
    "$context.customDomain",
    "$context.requestOverride",
)


@pytest.mark.parametrize("words", CALLERS_WORDS)
def test_the_access_log_repeats_nothing_that_a_caller_wrote(dev, words):
    assert words not in stage(dev)["AccessLogSetting"]["Format"]


def test_the_access_log_knows_the_client_and_the_route(dev):
    written = json.loads(stage(dev)["AccessLogSetting"]["Format"])
    assert (written["client"], written["route"]) == ("$context.authorizer.principalId", "$context.resourcePath")


@pytest.mark.parametrize("warm", [{}, {"provisioned_concurrency": 1}, {"snap_start": True}])
def test_the_stage_turns_to_a_function_only_once_it_may_invoke_it(synthesized, warm):
    """A permission names a version, and a deploy that changes the function makes both anew."""
    templates = synthesized(DEV, a_model("fruit", **warm), a_model("tumour"))
    permissions = templates.serving.find_resources("AWS::Lambda::Permission").keys()
    deployments = templates.serving.find_resources("AWS::ApiGateway::Deployment").values()
    assert len(permissions) == 5
    assert deployments
    assert all(permissions <= set(each["DependsOn"]) for each in deployments)


def test_the_account_may_write_access_logs_before_the_stage_asks(dev):
    """A fresh account refuses the stage otherwise; the role is the account's, so it outlives this API."""
    ((account, found),) = dev.serving.find_resources("AWS::ApiGateway::Account").items()
    ((_, stage_resource),) = dev.serving.find_resources("AWS::ApiGateway::Stage").items()
    resources = dev.serving.to_json()["Resources"]
    role = resources[found["Properties"]["CloudWatchRoleArn"]["Fn::GetAtt"][0]]
    assert account in stage_resource["DependsOn"]
    assert found["DeletionPolicy"] == role["DeletionPolicy"] == "Retain"


@pytest.mark.parametrize(
    "kind",
    [
        "ACCESS_DENIED",
        "AUTHORIZER_CONFIGURATION_ERROR",
        "AUTHORIZER_FAILURE",
        "DEFAULT_4XX",
        "DEFAULT_5XX",
        "INTEGRATION_FAILURE",
        "INTEGRATION_TIMEOUT",
        "INVALID_API_KEY",
        "INVALID_SIGNATURE",
        "MISSING_AUTHENTICATION_TOKEN",
        "QUOTA_EXCEEDED",
        "REQUEST_TOO_LARGE",
        "THROTTLED",
        "UNAUTHORIZED",
        "WAF_FILTERED",
    ],
)
def test_the_gateways_errors_have_the_protocols_shape(dev, kind):
    ((content_type, template),) = responses(dev)[kind]["ResponseTemplates"].items()
    assert content_type == "application/json"
    (error,) = json.loads(template.replace("$context.error.responseType", "WORD")).items()
    assert error[0] == "error"
    assert len(error[1]) > 40


def test_gateway_templates_hold_no_variable_that_could_break_the_document(dev):
    texts = [text for each in responses(dev).values() for text in each["ResponseTemplates"].values()]
    assert not [text for text in texts if "$" in text.replace("$context.error.responseType", "")]


@pytest.mark.parametrize(
    ("kind", "header", "value"),
    [("THROTTLED", "Retry-After", "1"), ("QUOTA_EXCEEDED", "Retry-After", "3600"), ("UNAUTHORIZED", "WWW-Authenticate", "Bearer")],
)
def test_a_refused_caller_is_told_when_to_come_back_and_how(dev, kind, header, value):
    assert responses(dev)[kind]["ResponseParameters"] == {f"gatewayresponse.header.{header}": f"'{value}'"}


def test_without_cors_nothing_of_it_is_there(dev):
    assert "Access-Control" not in str(dev.serving.to_json())


def test_with_cors_a_preflight_reaches_the_function_without_a_key(with_cors):
    found = routes(with_cors)
    preflights = {path: each for (method, path), each in found.items() if method == "OPTIONS"}
    assert preflights.keys() == {path for method, path in found if method == "ANY"}
    assert {(each["AuthorizationType"], each["ApiKeyRequired"]) for each in preflights.values()} == {("NONE", False)}
    assert all(each["Integration"]["Uri"] == found["ANY", path]["Integration"]["Uri"] for path, each in preflights.items())


def test_with_cors_a_browser_can_read_the_gateways_errors(with_cors):
    allowed = [each["ResponseParameters"]["gatewayresponse.header.Access-Control-Allow-Origin"] for each in responses(with_cors).values()]
    assert allowed == [f"'{ORIGIN}'"] * len(responses(with_cors))


def test_with_cors_every_function_knows_the_origin(with_cors):
    functions = [each["Environment"]["Variables"] for each in properties(with_cors.serving, "AWS::Lambda::Function")]
    assert [each["CORS_ORIGIN"] for each in functions if "CLIENT_TABLE" not in each] == [ORIGIN] * 3


def test_a_deploy_ends_with_where_to_call_and_what_to_run(dev):
    outputs = {name: text(each["Value"]) for name, each in dev.serving.to_json()["Outputs"].items()}
    assert outputs.keys() == {"ApiUrl", "ApiId", "Plans", "Curl", "NextCommand"}
    assert outputs["ApiUrl"].startswith("https://")
    assert outputs["ApiUrl"].endswith("/dev/")
    assert outputs["Curl"].startswith('curl -H "Authorization: Bearer $MODEL_KEY" https://')
    assert f"{outputs['ApiUrl']}v2/models/fruit/infer" in outputs["Curl"]
    assert outputs["NextCommand"] == "modelctl doctor --deployment dev"
