"""What endpoints run, what their containers may reach, what is encrypted and what is kept."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from modelserve.manifest import ARCHIVE_FILE
from stacks import store
from stacks.settings import PROD, DeploymentSettings
from stacks.triton import has_local_storage
from tests.stacks.endpoints import OWN, SHARED, of, variant
from tests.stacks.factories import CAPTURING, HEAVY, NETWORK, a_heavy_model, properties, statements, text

pytestmark = pytest.mark.xdist_group("stacks")


@pytest.mark.parametrize("endpoint", [SHARED, OWN])
def test_triton_comes_from_awss_registry_of_the_region(heavy, endpoint):
    image = of(heavy, endpoint, "AWS::SageMaker::Model")["PrimaryContainer"]["Image"]
    account, *rest = image["Fn::Join"][1]
    assert account == {"Fn::FindInMap": ["TritonRegistries", {"Ref": "AWS::Region"}, "account"]}
    assert "".join(map(text, rest)) == ".dkr.ecr.<AWS::Region>.<AWS::URLSuffix>/sagemaker-tritonserver:26.03-py3"


@pytest.mark.parametrize(
    ("region", "account"),
    [("us-east-1", "763104351884"), ("eu-central-2", "380420809688"), ("af-south-1", "626614931356"), ("cn-north-1", "727897471807")],
)
def test_regions_have_registries_of_their_own(heavy, region, account):
    assert heavy.gpu.to_json()["Mappings"]["TritonRegistries"][region] == {"account": account}


def test_a_region_without_the_image_is_in_no_row(heavy):
    """CloudFormation refuses the template there, before it makes anything."""
    registries = heavy.gpu.to_json()["Mappings"]["TritonRegistries"]
    assert "us-gov-west-1" not in registries
    assert all(re.fullmatch(r"\d{12}", row["account"]) for row in registries.values())


def test_the_shared_endpoint_serves_every_model_below_the_stores_prefix(heavy):
    container = of(heavy, SHARED, "AWS::SageMaker::Model")["PrimaryContainer"]
    assert container["Mode"] == "MultiModel"
    assert re.fullmatch(r"s3://<Ssm\w+storebucket\w+>/models/", text(container["ModelDataUrl"]))


def test_an_async_endpoint_serves_the_version_of_its_parameter(heavy):
    container = of(heavy, OWN, "AWS::SageMaker::Model")["PrimaryContainer"]
    assert container["Mode"] == "SingleModel"
    location = text(container["ModelDataUrl"]).partition("/models/")[2]
    assert location == f"long_texts/versions/<LongTextsVersion>/{ARCHIVE_FILE}"
    assert container["Environment"]["SAGEMAKER_TRITON_DEFAULT_MODEL_NAME"] == "long_texts"


def test_the_archive_has_the_name_that_publishing_gives_it():
    assert store.ARCHIVE == ARCHIVE_FILE


@pytest.mark.parametrize("endpoint", [SHARED, OWN])
def test_payloads_are_not_logged(heavy, endpoint):
    assert of(heavy, endpoint, "AWS::SageMaker::Model")["PrimaryContainer"]["Environment"]["SAGEMAKER_TRITON_LOG_VERBOSE"] == "false"


def test_of_several_models_one_that_can_not_be_loaded_leaves_the_server_healthy(heavy):
    assert of(heavy, SHARED, "AWS::SageMaker::Model")["PrimaryContainer"]["Environment"]["SAGEMAKER_TRITON_PING_MODE"] == "live"


def test_an_only_model_that_can_not_be_loaded_makes_the_server_unhealthy(heavy):
    """Which sends an update back. Triton's own mode, without a word, is `ready`."""
    assert of(heavy, OWN, "AWS::SageMaker::Model")["PrimaryContainer"]["Environment"].keys() == {
        "SAGEMAKER_TRITON_LOG_VERBOSE",
        "SAGEMAKER_TRITON_DEFAULT_MODEL_NAME",
    }


@pytest.mark.parametrize("endpoint", [SHARED, OWN])
def test_containers_reach_no_network(heavy, endpoint):
    model = of(heavy, endpoint, "AWS::SageMaker::Model")
    assert model["EnableNetworkIsolation"] is True
    assert "VpcConfig" not in model


@pytest.mark.parametrize("endpoint", [SHARED, OWN])
def test_with_subnets_containers_are_in_the_network_of_the_settings(synthesized, endpoint):
    model = of(synthesized(NETWORK, *HEAVY), endpoint, "AWS::SageMaker::Model")
    assert model["VpcConfig"] == {"Subnets": list(NETWORK.gpu_subnets), "SecurityGroupIds": list(NETWORK.gpu_security_groups)}
    assert model["EnableNetworkIsolation"] is False


def test_subnets_need_security_groups():
    with pytest.raises(ValueError, match="gpu_subnets and gpu_security_groups of x go together"):
        DeploymentSettings(name="x", gpu_subnets=("subnet-0a1b2c3d",))


@pytest.mark.parametrize("endpoint", [SHARED, OWN])
def test_instances_have_the_driver_that_triton_was_built_for(heavy, endpoint):
    assert variant(heavy, endpoint)["InferenceAmiVersion"] == "al2023-ami-sagemaker-inference-gpu-4-1"


def test_instances_are_those_of_the_settings_and_of_model_toml(heavy, synthesized):
    assert variant(heavy, SHARED)["InstanceType"] == "ml.g4dn.xlarge"
    assert variant(heavy, OWN)["InstanceType"] == "ml.p3.2xlarge"
    larger = synthesized(replace(PROD, gpu_instance_type="ml.g6.2xlarge"), a_heavy_model(), a_heavy_model("long_texts", mode="async"))
    assert [variant(larger, each)["InstanceType"] for each in (SHARED, OWN)] == ["ml.g6.2xlarge"] * 2


def test_requests_go_to_the_instance_that_has_the_fewest(heavy):
    assert variant(heavy, SHARED)["RoutingConfig"] == {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}
    assert "RoutingConfig" not in variant(heavy, OWN)


def test_disks_are_under_the_stores_key_where_the_instance_has_none_of_its_own(heavy):
    assert "KmsKeyId" not in of(heavy, SHARED, "AWS::SageMaker::EndpointConfig")
    assert "storekey" in text(of(heavy, OWN, "AWS::SageMaker::EndpointConfig")["KmsKeyId"])


@pytest.mark.parametrize(
    ("instance_type", "local"),
    [("ml.g4dn.xlarge", True), ("ml.g5.2xlarge", True), ("ml.g6e.xlarge", True), ("ml.p3.2xlarge", False), ("ml.p3dn.24xlarge", True)],
)
def test_a_key_is_refused_where_the_instance_has_a_disk_of_its_own(instance_type, local):
    assert has_local_storage(instance_type) is local


def test_nothing_is_captured_unless_asked(heavy):
    assert not [each for each in properties(heavy.gpu, "AWS::SageMaker::EndpointConfig") if "DataCaptureConfig" in each]
    assert not [
        each for role in properties(heavy.gpu, "AWS::IAM::Role") for each in statements(role) if "captured" in text(each["Resource"])
    ]


def test_what_is_captured_is_encrypted_and_in_the_bucket_that_forgets(synthesized):
    capturing = synthesized(CAPTURING, *HEAVY)
    capture = of(capturing, SHARED, "AWS::SageMaker::EndpointConfig")["DataCaptureConfig"]
    assert (capture["EnableCapture"], capture["InitialSamplingPercentage"]) == (True, 10)
    assert re.fullmatch(r"s3://<Ssm\w+storejobs\w+>/_captured", text(capture["DestinationS3Uri"]))
    assert "storekey" in text(capture["KmsKeyId"])
    assert "DataCaptureConfig" not in of(capturing, OWN, "AWS::SageMaker::EndpointConfig")


def test_answers_and_failures_of_jobs_are_encrypted_and_in_the_bucket_that_forgets(heavy):
    jobs = of(heavy, OWN, "AWS::SageMaker::EndpointConfig")["AsyncInferenceConfig"]
    output = {name: text(value) for name, value in jobs["OutputConfig"].items()}
    assert re.fullmatch(r"s3://<Ssm\w+storejobs\w+>/long_texts/answers/", output["S3OutputPath"])
    assert re.fullmatch(r"s3://<Ssm\w+storejobs\w+>/long_texts/failures/", output["S3FailurePath"])
    assert "storekey" in output["KmsKeyId"]


def test_as_many_jobs_run_at_once_as_there_are_copies_of_the_model(synthesized):
    templates = synthesized(PROD, a_heavy_model("long_texts", mode="async", instance_count=2))
    jobs = of(templates, OWN, "AWS::SageMaker::EndpointConfig")["AsyncInferenceConfig"]
    assert jobs["ClientConfig"] == {"MaxConcurrentInvocationsPerInstance": 2}


@pytest.mark.parametrize("endpoint", [SHARED, OWN])
def test_logs_of_an_endpoint_are_forgotten(heavy, endpoint):
    group = of(heavy, endpoint, "AWS::Logs::LogGroup")
    assert (group["LogGroupName"], group["RetentionInDays"]) == (f"/aws/sagemaker/Endpoints/{endpoint}", 365)
