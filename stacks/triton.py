"""Which image an endpoint runs, and what it must know of the instance that runs it."""

from __future__ import annotations

from aws_cdk import Aws, CfnMapping, Stack
from constructs import Construct

__all__ = ["INFERENCE_AMI", "OF_SEVERAL", "REPOSITORY", "TAG", "TritonImage", "has_local_storage", "of_one"]

REPOSITORY = "sagemaker-tritonserver"
TAG = "26.03-py3"
"""Triton 2.67 with ONNX Runtime 1.24, for CUDA 13."""
INFERENCE_AMI = "al2023-ami-sagemaker-inference-gpu-4-1"
"""Of the instances: NVIDIA driver 580 for CUDA 13.0; the other AMIs' drivers are of CUDA 12.

Source: Amazon SageMaker API Reference, ProductionVariant, `InferenceAmiVersion`.
"""
# Verbose logs hold payloads, and are on unless told otherwise.
_ENVIRONMENT = {"SAGEMAKER_TRITON_LOG_VERBOSE": "false"}
# Otherwise one model that can't be loaded makes the whole server unhealthy, and SageMaker replaces the instance.
OF_SEVERAL = {**_ENVIRONMENT, "SAGEMAKER_TRITON_PING_MODE": "live"}
"""The environment of a container that serves several models."""
_MOST = "763104351884"
_REGISTRIES = {
    **dict.fromkeys(
        [
            *("us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1"),
            *("eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3"),
            *("ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2"),
        ],
        _MOST,
    ),
    "af-south-1": "626614931356",
    "ap-east-1": "871362719292",
    "ap-east-2": "975050140332",
    "ap-northeast-3": "364406365360",
    "ap-south-2": "772153158452",
    "ap-southeast-3": "907027046896",
    "ap-southeast-4": "457447274322",
    "ap-southeast-5": "550225433462",
    "ap-southeast-6": "633930458069",
    "ap-southeast-7": "590183813437",
    "ca-west-1": "204538143572",
    "eu-central-2": "380420809688",
    "eu-south-1": "692866216735",
    "eu-south-2": "503227376785",
    "il-central-1": "780543022126",
    "me-south-1": "217643126080",
    "cn-north-1": "727897471807",
    "cn-northwest-1": "727897471807",
}
"""Since 23.12 those of all Deep Learning Containers: `docs/reference/region_availability.md` of aws/deep-learning-containers, without the
regions that `sagemaker-tritonserver.json` of the SageMaker Python SDK doesn't have."""
_LOCAL_STORAGE = {"c5d", "g4dn", "g5", "g6", "g6e", "gr6", "m5d", "p3dn", "p4d", "p4de", "p5", "p5e", "p5en", "p6-b200", "r5d", "trn1"}
"""Families with NVMe disks of their own. Source: Amazon EC2 User Guide, "Instance store volumes"."""


def has_local_storage(instance_type: str) -> bool:
    """Whether `ml.g4dn.xlarge` and the like keep models on a disk of the instance, which its hardware encrypts and no KMS key may."""
    return instance_type.split(".")[1] in _LOCAL_STORAGE


def of_one(model: str) -> dict[str, str]:
    """The environment of a container that serves `model`, and is healthy when that can be asked: otherwise an update goes back."""
    return {**_ENVIRONMENT, "SAGEMAKER_TRITON_DEFAULT_MODEL_NAME": model}


class TritonImage(CfnMapping):
    """The account that AWS serves the image from in each region.

    A region that isn't there ends a deploy before anything is made: "Unable to get mapping for TritonRegistries::<region>::account".
    """

    def __init__(self, scope: Construct) -> None:
        super().__init__(scope, "TritonRegistries", mapping={region: {"account": account} for region, account in _REGISTRIES.items()})
        self._account = self.find_in_map(Aws.REGION, "account")

    @property
    def uri(self) -> str:
        """Of the image, in the deployment's region."""
        return f"{self._account}.dkr.ecr.{Aws.REGION}.{Aws.URL_SUFFIX}/{REPOSITORY}:{TAG}"

    @property
    def repository_arn(self) -> str:
        """What a role names that pulls it."""
        return Stack.of(self).format_arn(service="ecr", account=self._account, resource="repository", resource_name=REPOSITORY)
