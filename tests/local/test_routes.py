"""Routes: which function answers a path, as API Gateway would choose."""

from __future__ import annotations

import pytest

from tests.local.factories import BY_KEY, a_method, a_resource, a_stack, guarded
from tools.local.errors import LocalError
from tools.local.routes import Api

LAMBDA = {"Type": "AWS::Lambda::Function", "Properties": {}}


@pytest.fixture(scope="module")
def api():
    return Api.read(
        a_stack(
            One=LAMBDA,
            Version={"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": "One"}}},
            OneThing=a_resource("one", "Things"),
            OneThingBelow=a_resource("{proxy+}", "OneThing"),
            AnyOne=a_method("OneThing", "One"),
            AnyOneBelow=a_method("OneThingBelow", "One", TimeoutInMillis=5000),
            ById=a_resource("{id}", "Things"),
            ByIdName=a_resource("name", "ById"),
            GetName=a_method("ByIdName", "One", method="GET"),
            Versioned=a_resource("versioned"),
            AnyVersioned={
                **a_method("Versioned"),
                "Properties": {
                    **a_method("Versioned")["Properties"],
                    "Integration": {"Type": "AWS_PROXY", "Uri": {"Fn::Join": ["", ["x", {"Ref": "Version"}, "/invocations"]]}},
                },
            },
        )
    )


@pytest.mark.parametrize(
    ("path", "function", "parameters"),
    [
        ("/things", "Tiny", {}),
        ("/things/", "Tiny", {}),
        ("/things/else", "Tiny", {"proxy": "else"}),
        ("/things/else/deep/er", "Tiny", {"proxy": "else/deep/er"}),
        ("/things/one", "One", {}),
        ("/things/one/infer", "One", {"proxy": "infer"}),
        ("/things/a%20b/name", "One", {"id": "a b"}),
        ("/things/one%2Fx", "Tiny", {"proxy": "one/x"}),
        ("/versioned", "One", {}),
    ],
)
def test_the_most_specific_route_wins(api, path, function, parameters):
    match = api.match("GET", path)
    assert (match.route.function, match.parameters) == (function, parameters)


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/thing"), ("GET", "/versioned/x"), ("GET", "")])
def test_no_route_is_no_match(api, method, path):
    assert api.match(method, path) is None


def test_a_method_of_its_own_answers_only_that_method(api):
    assert api.match("POST", "/things/x/name") is None
    assert api.match("GET", "/things/x/name").route.resource == "/things/{id}/name"


def test_the_integrations_timeout_is_kept(api):
    assert api.match("GET", "/things/one/x").route.timeout == 5
    assert api.match("GET", "/things").route.timeout == 29


def test_who_may_call_a_method_is_the_templates_word():
    (guarded_method, other), free = Api.read(a_stack(**guarded())).routes, Api.read(a_stack()).routes[0]
    assert {(each.authorizer, each.api_key) for each in (guarded_method, other)} == {("Keys", True)}
    assert (free.authorizer, free.api_key) == ("", False)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"Api": {"Type": "AWS::ApiGateway::RestApi", "Properties": {}}}, "binaryMediaTypes"),
        ({"Stage": {"Type": "AWS::S3::Bucket"}}, "0 stages"),
        ({"AnyThing": a_method("Thing", "Missing")}, "no Lambda function"),
        (
            {"AnyThing": {**a_method("Thing"), "Properties": {**a_method("Thing")["Properties"], "Integration": {"Type": "MOCK"}}}},
            "AWS_PROXY",
        ),
        ({"AnyThing": a_method("Thing", authorization={"AuthorizationType": "AWS_IAM"})}, "ANY /things/{proxy[+]} .* AWS_IAM"),
        ({"AnyThing": a_method("Thing", authorization={**BY_KEY, "AuthorizerId": "abc123"})}, "authorizer abc123"),
        ({"AnyThing": a_method("Thing", authorization=BY_KEY)}, "API keys from HEADER"),
    ],
)
def test_a_template_that_is_not_served_is_refused_by_name(changes, problem):
    with pytest.raises(LocalError, match=problem):
        Api.read(a_stack(**changes))
