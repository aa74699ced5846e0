"""What stands in front of the API in production."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stacks.settings import DEV, PROD
from tests.stacks.factories import Templates, properties, text

pytestmark = pytest.mark.xdist_group("stacks")

COMMON = "AWSManagedRulesCommonRuleSet"
# https://docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-baseline.html
BODY_RULES = {"SizeRestrictions_BODY", "CrossSiteScripting_BODY", "GenericLFI_BODY", "GenericRFI_BODY", "EC2MetaDataSSRF_BODY"}


@pytest.fixture(scope="module")
def prod(synthesized):
    return synthesized(replace(PROD, requests_per_ip=34_567))


def rules(templates: Templates) -> dict[str, dict[str, Any]]:
    (acl,) = properties(templates.serving, "AWS::WAFv2::WebACL")
    return {each["Name"]: each for each in acl["Rules"]}


@pytest.mark.parametrize("settings", [DEV, PROD], ids=lambda settings: settings.name)
def test_neither_the_firewall_nor_the_stage_refuses_what_a_plan_allows(settings):
    """A client behind one address would get a 403 that its plan knows nothing of."""
    for plan in settings.plans:
        assert plan.requests_per_second <= settings.requests_per_second
        assert plan.burst <= settings.burst
        assert 300 * plan.requests_per_second <= settings.requests_per_ip


def test_a_firewall_that_is_tighter_than_a_plan_is_refused():
    with pytest.raises(ValueError, match=r"requests_per_ip of prod is 29,999, and its fastest plan allows 30,000 in five minutes"):
        replace(PROD, requests_per_ip=29_999)


def test_the_firewall_is_of_the_apis_stage(prod):
    (association,) = properties(prod.serving, "AWS::WAFv2::WebACLAssociation")
    (acl,) = prod.serving.find_resources("AWS::WAFv2::WebACL")
    (stage,) = prod.serving.find_resources("AWS::ApiGateway::Stage")
    assert association["WebACLArn"] == {"Fn::GetAtt": [acl, "Arn"]}
    assert text(association["ResourceArn"]).endswith(f"/stages/<{stage}>")


def test_an_address_may_send_so_many_requests_in_five_minutes(prod):
    rule = rules(prod)["RequestsByAddress"]
    assert rule["Statement"]["RateBasedStatement"] == {"AggregateKeyType": "IP", "Limit": 34_567, "EvaluationWindowSec": 300}
    assert rule["Action"] == {"Block": {}}


@pytest.mark.parametrize("group", [COMMON, "AWSManagedRulesAmazonIpReputationList"])
def test_awss_rules_refuse(prod, group):
    rule = rules(prod)[group]
    assert rule["Statement"]["ManagedRuleGroupStatement"]["Name"] == group
    assert rule["OverrideAction"] == {"None": {}}


def test_no_rule_refuses_a_tensor_or_a_client_without_a_name(prod):
    """Rules on bodies take tensors for attacks; Python's http.client sends no User-Agent."""
    overrides = rules(prod)[COMMON]["Statement"]["ManagedRuleGroupStatement"]["RuleActionOverrides"]
    assert {each["Name"] for each in overrides} == BODY_RULES | {"NoUserAgent_HEADER"}
    assert {str(each["ActionToUse"]) for each in overrides} == {"{'Count': {}}"}


def test_the_firewall_keeps_no_request(prod):
    """A sample holds the Authorization header."""
    (acl,) = properties(prod.serving, "AWS::WAFv2::WebACL")
    shown = [acl["VisibilityConfig"], *(each["VisibilityConfig"] for each in acl["Rules"])]
    assert [each["SampledRequestsEnabled"] for each in shown] == [False] * 4
    prod.serving.resource_count_is("AWS::WAFv2::LoggingConfiguration", 0)


def test_without_the_setting_there_is_no_firewall(dev):
    dev.serving.resource_count_is("AWS::WAFv2::WebACL", 0)
