"""AWS WAF in front of the API: what is refused before a key is even looked at."""

from __future__ import annotations

from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_wafv2 as waf
from constructs import Construct

from .settings import DeploymentSettings

__all__ = ["Firewall"]

_COUNTED = (
    # A tensor is larger than 8 KB and its bytes look like anything.
    "SizeRestrictions_BODY",
    "CrossSiteScripting_BODY",
    "GenericLFI_BODY",
    "GenericRFI_BODY",
    "EC2MetaDataSSRF_BODY",
    # Python's http.client and many embedded clients send none; who they are is told by their key.
    "NoUserAgent_HEADER",
)
_Rule = waf.CfnWebACL.RuleProperty
_Statement = waf.CfnWebACL.StatementProperty


class Firewall(Construct):
    """A web ACL of the stage: requests by address, AWS's list of addresses of ill repute, and its common rules.

    It keeps no log and no samples, which would hold Authorization headers and paths; CloudWatch counts what each rule did.
    """

    def __init__(self, scope: Construct, construct_id: str, *, stage: apigateway.Stage, settings: DeploymentSettings) -> None:
        super().__init__(scope, construct_id)
        acl = waf.CfnWebACL(
            self,
            "WebAcl",
            scope="REGIONAL",
            default_action=waf.CfnWebACL.DefaultActionProperty(allow={}),
            visibility_config=_counted_as("Requests"),
            rules=[
                _by_address(settings.requests_per_ip, priority=0),
                _managed("AWSManagedRulesAmazonIpReputationList", priority=1),
                _managed("AWSManagedRulesCommonRuleSet", priority=2, counted=_COUNTED),
            ],
        )
        waf.CfnWebACLAssociation(self, "OfStage", resource_arn=stage.stage_arn, web_acl_arn=acl.attr_arn)


def _by_address(limit: int, *, priority: int) -> waf.CfnWebACL.RuleProperty:
    rate = waf.CfnWebACL.RateBasedStatementProperty(aggregate_key_type="IP", limit=limit, evaluation_window_sec=300)
    return _Rule(
        name="RequestsByAddress",
        priority=priority,
        statement=_Statement(rate_based_statement=rate),
        action=waf.CfnWebACL.RuleActionProperty(block={}),
        visibility_config=_counted_as("RequestsByAddress"),
    )


def _managed(name: str, *, priority: int, counted: tuple[str, ...] = ()) -> waf.CfnWebACL.RuleProperty:
    """AWS's rule group of this name, with the rules of `counted` watching instead of refusing."""
    count = waf.CfnWebACL.RuleActionProperty(count={})
    group = waf.CfnWebACL.ManagedRuleGroupStatementProperty(
        vendor_name="AWS",
        name=name,
        rule_action_overrides=[waf.CfnWebACL.RuleActionOverrideProperty(name=rule, action_to_use=count) for rule in counted] or None,
    )
    return _Rule(
        name=name,
        priority=priority,
        statement=_Statement(managed_rule_group_statement=group),
        override_action=waf.CfnWebACL.OverrideActionProperty(none={}),
        visibility_config=_counted_as(name),
    )


def _counted_as(name: str) -> waf.CfnWebACL.VisibilityConfigProperty:
    return waf.CfnWebACL.VisibilityConfigProperty(cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=False)
