"""The lines of docs/ways-in.md synthesize as they stand there, keep our rules and cdk-nag's, and allow what they say."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Stack, Validations
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk.assertions import Template
from cdk_nag import AwsSolutionsChecks, ServerlessChecks

from models.config import MODELS, ModelConfig, ModelConfigError
from stacks import ways_in
from stacks.deployment import Deployment
from stacks.examples import Examples
from stacks.settings import DEV, PROD, DeploymentSettings
from stacks.stream_scoring import NoStreamError, StreamScoring
from stacks.ways_in import AllowAccount, AllowInvoke, HeavyModelError, PredictOnEvent, PredictOnObject, Webhook, predict_task
from tests.stacks.factories import ROOT, cdk_app, properties, text
from tests.stacks.rules import Resources
from tests.stacks.test_rules import ALWAYS

pytestmark = [pytest.mark.xdist_group("stacks"), pytest.mark.usefixtures("synthesized")]

PAGE = (ROOT / "docs" / "ways-in.md").read_text("utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
URL, SECRET = "https://example.org/told", "arn:aws:secretsmanager:us-east-1:123456789012:secret:told-a1b2c3"
REQUEST = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 2], "data": [events.EventField.from_path("$.detail.x"), 1]}]}
PATTERN = events.EventPattern(source=["orchard"])


@dataclass
class World:
    """A deployment, of no model since doors find theirs by name, and a stack of somebody's beside it."""

    app: App
    deployment: Deployment
    stack: Stack

    @property
    def common(self) -> dict[str, Any]:
        return {"settings": DEV, "store": self.deployment.store}

    def template(self) -> Template:
        return Template.from_stack(self.stack)

    def resources(self) -> Resources:
        found: Resources = self.template().to_json()["Resources"]
        return found


def a_world(folder: Path, settings: DeploymentSettings = DEV) -> World:
    app = cdk_app(folder)
    deployment = Deployment(app, settings=settings, models=())
    return World(app, deployment, Stack(deployment, "Orchard"))


@pytest.fixture
def world(tmp_path):
    return a_world(tmp_path)


def a_role(world: World) -> iam.Role:
    return iam.Role(world.stack, "Role", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))


def a_table(world: World, **properties: Any) -> dynamodb.Table:
    return dynamodb.Table(
        world.stack, "Table", partition_key=dynamodb.Attribute(name="id", type=dynamodb.AttributeType.STRING), **properties
    )


def a_secret(world: World) -> secretsmanager.ISecret:
    return secretsmanager.Secret.from_secret_complete_arn(world.stack, "Secret", SECRET)


def names(world: World) -> dict[str, Any]:
    """What the snippets of the page speak of."""
    bucket = s3.Bucket.from_bucket_name(world.stack, "Bucket", world.deployment.store.data_bucket_name(world.stack))
    arn = "arn:aws:dynamodb:us-east-1:123456789012:table/payments"
    table = dynamodb.Table.from_table_attributes(world.stack, "Table", table_arn=arn, table_stream_arn=f"{arn}/stream/1")
    doors = {name: getattr(ways_in, name) for name in ways_in.__all__}
    return {
        **world.common,
        **doors,
        "self": world.stack,
        "StreamScoring": StreamScoring,
        "events": events,
        "sfn": sfn,
        "bucket": bucket,
        "table": table,
        "stream": kinesis.Stream.from_stream_arn(world.stack, "Stream", "arn:aws:kinesis:us-east-1:123456789012:stream/readings"),
        "secret": a_secret(world),
        "role": a_role(world),
    }


def allowed(template: Template) -> set[tuple[str, str]]:
    """Each action that a policy of the stack gives, and on what, without the partition."""
    return {
        (action, text(resource).replace("<AWS::Partition>", "aws"))
        for kind in ("AWS::IAM::ManagedPolicy", "AWS::IAM::Policy", "AWS::IAM::Role")
        for each in properties(template, kind)
        for document in [each.get("PolicyDocument"), *(policy["PolicyDocument"] for policy in each.get("Policies", []))]
        for statement in (document or {"Statement": []})["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
        for resource in (statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]])
    }


# The page


def test_every_door_has_its_lines_on_the_page():
    doors = set(ways_in.__all__) - {"HeavyModelError", "Undelivered"} | {"StreamScoring"}
    assert [door for door in doors if not any(f"{door}(" in snippet for snippet in SNIPPETS)] == []


def test_the_first_lines_are_a_stack(world):
    space: dict[str, Any] = {}
    exec(SNIPPETS[0], space)
    assert isinstance(space["Orchard"](world.deployment, "Mine", **world.common), Stack)


def test_the_lines_of_the_page_keep_every_rule(tmp_path):
    world = a_world(tmp_path)
    Validations.of(world.app).add_plugins(AwsSolutionsChecks(world.app), ServerlessChecks(world.app))
    space = names(world)
    for snippet in SNIPPETS[1:]:
        exec(snippet, space)
    assert [problem for rule in ALWAYS for problem in rule(world.resources()) if "<Role" not in problem] == []
    with suppress(RuntimeError):  # it ends so after writing the report, if anything was found
        world.app.synth()
    report = json.loads((tmp_path / "validation-report.json").read_text("utf-8"))
    found = [
        (violation["ruleName"], construct["constructPath"])
        for each in report["pluginReports"]
        for violation in each["violations"]
        for construct in violation["violatingConstructs"]
        if construct["constructPath"].startswith("dev/Orchard/")
    ]
    # A machine of three lines says nothing of logs and traces; the one of the stack Examples does.
    assert {path for _, path in found} <= {"dev/Orchard/Payment/Resource"}


def test_the_pages_state_is_the_one_that_is_made(world):
    inputs = [{"name": "amount", "datatype": "FP32", "shape": [1, 1], "data.$": "States.Array($.amount)"}]
    state = predict_task(world.stack, "Score", settings=DEV, model="fraud", inputs=inputs, role=a_role(world))
    shown = re.search(r"^```json state\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert shown
    assert flat(world.stack.resolve(state.to_state_json())) == {**json.loads(shown[1]), "End": True}


def flat(value: Any) -> Any:
    """As it is in the partition, region and account of the page."""
    match value:
        case {"Fn::Join": _}:
            places = {"<AWS::Partition>": "aws", "<AWS::Region>": "us-east-1", "<AWS::AccountId>": "123456789012"}
            return re.sub(r"<AWS::\w+>", lambda match: places[match[0]], text(value))
        case dict():
            return {name: flat(inner) for name, inner in value.items()}
        case list():
            return [flat(inner) for inner in value]
    return value


# Events and objects


def test_what_matches_becomes_a_message_of_the_workers(world):
    PredictOnEvent(world.stack, "Door", settings=DEV, model="fruit", pattern=PATTERN, request=REQUEST, priority="high")
    (rule,) = properties(world.template(), "AWS::Events::Rule")
    (target,) = rule["Targets"]
    assert text(target["Arn"]).endswith(f":{DEV.queue_name('high')}")
    filled = re.sub("<[a-z-]+>", '"value"', target["InputTransformer"]["InputTemplate"])
    message = json.loads(filled)
    assert (message["id"], message["model"], message["request"]["inputs"][0]["data"]) == ("value", "fruit", ["value", 1])
    assert DEV.rule_name(message["door"]) == rule["Name"]  # one event may come through several doors
    assert target["InputTransformer"]["InputPathsMap"] == {"id": "$.id", "detail-x": "$.detail.x"}


def test_the_queue_lets_a_rule_of_that_name_in(world):
    PredictOnEvent(world.stack, "A-door-with-a-very-long-name" * 4, settings=DEV, model="fruit", pattern=PATTERN, request=REQUEST)
    (rule,) = properties(world.template(), "AWS::Events::Rule")
    assert rule["Name"].startswith(DEV.rule_name(""))
    assert len(rule["Name"]) <= 64
    assert rule["Targets"][0]["SqsParameters"]["MessageGroupId"] in rule["Name"]


def test_what_can_not_be_delivered_waits_for_two_weeks(world):
    PredictOnEvent(world.stack, "Door", settings=DEV, model="fruit", pattern=PATTERN, request=REQUEST)
    (rule,) = properties(world.template(), "AWS::Events::Rule")
    assert rule["Targets"][0]["RetryPolicy"] == {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185}
    (name,) = rule["Targets"][0]["DeadLetterConfig"]["Arn"]["Fn::GetAtt"][:1]
    assert world.resources()[name]["Properties"]["MessageRetentionPeriod"] == 14 * 86_400


@pytest.mark.parametrize(("topic", "alarms"), [(None, 0), ("arn:aws:sns:eu-west-1:123456789012:alarms", 1)])
def test_an_alarm_rings_where_somebody_hears_it(world, topic, alarms):
    settings = replace(DEV, alarm_topic_arn=topic)
    door = PredictOnEvent(world.stack, "Door", settings=settings, model="fruit", pattern=PATTERN, request=REQUEST)
    found = properties(world.template(), "AWS::CloudWatch::Alarm")
    assert [each["AlarmActions"] for each in found] == [[topic]] * alarms
    waiting = world.stack.resolve(door.undelivered.queue_name)
    assert [(each["MetricName"], each["Threshold"], each["Dimensions"][0]["Value"]) for each in found] == [
        ("ApproximateNumberOfMessagesVisible", 1, waiting)
    ] * alarms


def test_a_door_by_event_grants_nothing(world):
    PredictOnEvent(world.stack, "Door", settings=DEV, model="fruit", pattern=PATTERN, request=REQUEST)
    assert allowed(world.template()) == set()


def test_an_object_is_read_by_the_workers_role_and_nothing_beside_it(world):
    key = kms.Key.from_key_arn(world.stack, "Key", "arn:aws:kms:us-east-1:123456789012:key/k")
    bucket = s3.Bucket.from_bucket_attributes(world.stack, "Bucket", bucket_name="theirs", encryption_key=key)
    PredictOnObject(world.stack, "Door", settings=DEV, model="fruit", bucket=bucket, prefix="in/", header_length=0)
    assert allowed(world.template()) == {("s3:GetObject", "arn:aws:s3:::theirs/in/*"), ("kms:Decrypt", key.key_arn)}
    (policy,) = properties(world.template(), "AWS::IAM::ManagedPolicy")
    parameters = world.template().to_json()["Parameters"]
    assert [parameters[role["Ref"]]["Default"] for role in policy["Roles"]] == [DEV.job_role_parameter]
    (rule,) = properties(world.template(), "AWS::Events::Rule")
    assert rule["EventPattern"]["detail"] == {"bucket": {"name": ["theirs"]}, "object": {"key": [{"prefix": "in/"}]}}
    assert '"header_length":0' in rule["Targets"][0]["InputTransformer"]["InputTemplate"]


@pytest.mark.parametrize("door", [PredictOnEvent, StreamScoring])
def test_a_heavy_model_is_refused_where_the_workers_run_models(world, door):
    heavy = {"settings": DEV, "model": "digits_cnn"}
    rest = {"pattern": PATTERN, "request": REQUEST} if door is PredictOnEvent else {"store": None, "source": None}
    with pytest.raises(HeavyModelError, match=r'digits_cnn has target = "gpu"'):
        door(world.stack, "Door", **heavy, **rest)


def test_a_model_that_is_not_there_is_refused(world):
    with pytest.raises(ModelConfigError, match="nobody"):
        AllowInvoke(world.stack, "Door", settings=DEV, model="nobody", role=a_role(world))


# Webhooks


def told(world: World, **changes: Any) -> Webhook:
    return Webhook(world.stack, "Told", settings=DEV, **{"url": URL, "secret": a_secret(world), **changes})


def test_a_webhook_may_post_to_its_address_and_nothing_else(world):
    told(world)
    ((action, resource),) = allowed(world.template())
    (destination,) = [name for name, each in world.resources().items() if each["Type"] == "AWS::Events::ApiDestination"]
    assert (action, resource) == ("events:InvokeApiDestination", f"<{destination}.Arn>")
    (role,) = properties(world.template(), "AWS::IAM::Role")
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "events.amazonaws.com"}


@pytest.mark.parametrize(("clients", "narrowed"), [(None, {}), (["me"], {"detail": {"client": ["me"]}})])
def test_a_webhook_hears_of_this_deployments_jobs(world, clients, narrowed):
    told(world, clients=clients)
    (rule,) = properties(world.template(), "AWS::Events::Rule")
    assert rule["EventPattern"] == {"source": [DEV.service], "detail-type": ["Job Succeeded", "Job Failed"], **narrowed}
    assert not {"Input", "InputPath", "InputTransformer"} & rule["Targets"][0].keys()  # the event as it is


def test_a_webhooks_secret_is_in_no_template(world):
    told(world, header="Authorization", requests_per_second=3)
    (connection,) = properties(world.template(), "AWS::Events::Connection")
    sent = {"ApiKeyName": "Authorization", "ApiKeyValue": f"{{{{resolve:secretsmanager:{SECRET}:SecretString:::}}}}"}
    assert (connection["AuthorizationType"], connection["AuthParameters"]) == ("API_KEY", {"ApiKeyAuthParameters": sent})
    (destination,) = properties(world.template(), "AWS::Events::ApiDestination")
    expected = {"HttpMethod": "POST", "InvocationEndpoint": URL, "InvocationRateLimitPerSecond": 3}
    assert {name: destination[name] for name in expected} == expected


def test_what_a_webhook_does_not_take_is_put_aside_after_a_day(world):
    door = told(world)
    (rule,) = properties(world.template(), "AWS::Events::Rule")
    (target,) = rule["Targets"]
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185}
    assert target["DeadLetterConfig"]["Arn"] == world.stack.resolve(door.undelivered.queue_arn)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"url": "http://example.org/told"}, "https:// only"),
        ({"kinds": ["Job Failed", "Prediction Made"], "clients": ["me"]}, "Prediction Made has no client"),
    ],
)
def test_a_webhook_that_would_never_be_called_is_refused(world, changes, words):
    with pytest.raises(ValueError, match=words):
        told(world, **changes)


# Streams


def score(world: World, source: Any, **changes: Any) -> StreamScoring:
    return StreamScoring(world.stack, "Door", **world.common, model="fraud", source=source, **changes)


def on(service: str, template: Template) -> set[tuple[str, str]]:
    return {(action.partition(":")[2], resource) for action, resource in allowed(template) if action.startswith(f"{service}:")}


def test_a_tables_stream_is_read_and_nothing_else_of_it(world):
    score(world, a_table(world, stream=dynamodb.StreamViewType.NEW_IMAGE))
    found = on("dynamodb", world.template())
    assert {action for action, _ in found} == {"DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"}
    assert {resource.partition(".")[2] for _, resource in found} == {"StreamArn>"}


def test_a_stream_of_kinesis_is_read_and_decrypted(world):
    key = kms.Key(world.stack, "Key")
    score(world, kinesis.Stream(world.stack, "Stream", encryption_key=key))
    found = on("kinesis", world.template())
    assert {action for action, _ in found} == {
        *("DescribeStream", "DescribeStreamSummary", "GetRecords", "GetShardIterator", "ListShards"),
    }
    assert all(resource.startswith("<Stream") for _, resource in found)
    assert ("Decrypt", world.stack.resolve(key.key_arn)["Fn::GetAtt"][0]) in {
        (action, re.sub(r"[<>]|\.Arn", "", resource)) for action, resource in on("kms", world.template())
    }


def test_a_stream_goes_on_past_what_fails(world):
    score(world, a_table(world, stream=dynamodb.StreamViewType.NEW_IMAGE), batch_size=10, parallel=3, attempts=7)
    (mapping,) = properties(world.template(), "AWS::Lambda::EventSourceMapping")
    expected = {
        "BatchSize": 10,
        "ParallelizationFactor": 3,
        "MaximumRetryAttempts": 7,
        "BisectBatchOnFunctionError": True,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
    }
    assert {name: mapping[name] for name in expected} == expected
    assert [json.loads(each["Pattern"]) for each in mapping["FilterCriteria"]["Filters"]] == [{"eventName": ["INSERT"]}]
    aside = mapping["DestinationConfig"]["OnFailure"]["Destination"]
    assert ("SendMessage", text(aside)) in on("sqs", world.template())


def test_a_stream_runs_one_model_and_tells_in_the_deployments_name(world):
    score(world, a_table(world, stream=dynamodb.StreamViewType.NEW_IMAGE), columns={"amount": "total"}, tell="fraud >= 0.8")
    (function,) = properties(world.template(), "AWS::Lambda::Function")
    told = function["Environment"]["Variables"]
    assert (told["MODEL_NAMES"], told["TELL"], json.loads(told["COLUMNS"])) == ("fraud", "fraud >= 0.8", {"amount": "total"})
    assert function["ImageConfig"]["Command"] == ["functions.batch.streams.handler"]
    assert {action for action, _ in on("events", world.template())} == {"PutEvents"}
    assert {re.sub(".*Parameter>/", "", resource) for action, resource in on("s3", world.template()) if action == "GetObject"} == {
        "models/fraud/*"
    }


def test_a_table_without_a_stream_is_refused_with_what_to_do(world):
    with pytest.raises(NoStreamError, match="Orchard/Table has no stream with new images; give it stream="):
        score(world, a_table(world))


@pytest.mark.parametrize("tell", ["fraud > 0.8", "fraud"])
def test_a_condition_that_is_none_is_refused(world, tell):
    with pytest.raises(ValueError, match=f"tell is '{tell}'; expected a label or an output"):
        score(world, None, tell=tell)


# Functions


def test_a_role_may_invoke_one_function_by_its_name(world):
    AllowInvoke(world.stack, "Door", settings=DEV, model="digits_cnn", role=a_role(world))
    (found,) = allowed(world.template())
    assert found == ("lambda:InvokeFunction", "arn:aws:lambda:<AWS::Region>:<AWS::AccountId>:function:onnx-dev-digits_cnn-gpu")


def test_a_machine_may_invoke_one_function_by_its_name(world):
    predict_task(world.stack, "Score", settings=DEV, model="fraud", inputs=[], role=a_role(world))
    assert {resource.rpartition(":")[2] for _, resource in allowed(world.template())} == {"onnx-dev-fraud"}


@pytest.mark.parametrize("organization", [None, "o-a1b2c3d4e5"])
def test_another_account_may_invoke_one_function(world, organization):
    AllowAccount(world.stack, "Door", settings=DEV, model="fraud", account="123456789012", organization=organization)
    (permission,) = properties(world.template(), "AWS::Lambda::Permission")
    narrowed = {"PrincipalOrgID": organization} if organization else {}
    assert permission == {
        "Action": "lambda:InvokeFunction",
        "FunctionName": "onnx-dev-fraud",
        "Principal": "123456789012",
        **narrowed,
    }


def test_functions_have_the_names_that_the_doors_know(synthesized):
    serving = synthesized(DEV, *ModelConfig.load_all(MODELS)).serving
    found = {each.get("FunctionName") for each in properties(serving, "AWS::Lambda::Function")}
    assert {DEV.function_name(model) for model in ModelConfig.load_all(MODELS)} <= found


# The examples


def examples(world: World, settings: DeploymentSettings, *models: str) -> Template:
    found = [ModelConfig.load(MODELS / name) for name in models]
    return Template.from_stack(Examples(world.deployment, "Mine", settings=settings, store=world.deployment.store, models=found))


def test_examples_are_on_in_dev_and_off_in_prod(world):
    assert examples(world, DEV, "fruit", "fraud").to_json()["Resources"]
    assert "Resources" not in examples(a_world(Path(world.app.outdir) / "prod"), PROD, "fruit", "fraud").to_json()


@pytest.mark.parametrize(
    ("model", "kinds", "others"),
    [
        ("fruit", ["AWS::Events::Rule"], ["AWS::Lambda::EventSourceMapping", "AWS::StepFunctions::StateMachine"]),
        ("fraud", ["AWS::Lambda::EventSourceMapping", "AWS::StepFunctions::StateMachine"], []),
    ],
)
def test_a_fork_without_a_sample_model_has_the_others_doors(world, model, kinds, others):
    found = {each["Type"] for each in examples(world, DEV, model).to_json()["Resources"].values()}
    assert found.issuperset(kinds)
    assert not found & set(others)


def test_a_fork_without_sample_models_has_no_examples(world):
    assert "Resources" not in examples(world, DEV, "tumour").to_json()


def test_nothing_of_the_examples_costs_at_rest(world):
    """No shard of Kinesis, no alarm, no capacity that is provisioned, no schedule."""
    template = examples(world, DEV, "fruit", "fraud")
    free = {
        *("AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "AWS::Events::Rule", "AWS::DynamoDB::Table", "AWS::Lambda::Function"),
        *("AWS::Lambda::EventSourceMapping", "AWS::StepFunctions::StateMachine", "AWS::Logs::LogGroup"),
        *("AWS::IAM::Role", "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::CDK::Metadata"),
    }
    assert {each["Type"] for each in template.to_json()["Resources"].values()} <= free
    assert {each["BillingMode"] for each in properties(template, "AWS::DynamoDB::Table")} == {"PAY_PER_REQUEST"}
    assert not [each for each in properties(template, "AWS::Events::Rule") if "ScheduleExpression" in each]


def test_every_prediction_is_kept_for_a_day_to_be_looked_at(world):
    template = examples(world, DEV, "fruit")
    (told,) = [each for each in properties(template, "AWS::Events::Rule") if "Prediction " in str(each["EventPattern"])]
    assert told["EventPattern"] == {"source": [DEV.service], "detail-type": [{"prefix": "Prediction "}]}
    assert 86_400 in {each["MessageRetentionPeriod"] for each in properties(template, "AWS::SQS::Queue")}
