"""Endpoints for tests: a template as the Gpu stack shapes it, and model archives as publishing makes them."""

from __future__ import annotations

import io
import tarfile
from typing import Any

from tools.local.assembly import Stack

CONFIG = """
name: "scaled"
backend: "onnxruntime"
max_batch_size: 4
input [{ name: "x" data_type: TYPE_FP32 dims: [ 3 ] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [ 3 ] }]
instance_group [{ kind: KIND_GPU count: 1 }]
dynamic_batching { max_queue_delay_microseconds: 100 }
"""
"""Of the graph `scaled`."""


def archive(graph: bytes, config: str = CONFIG, *, name: str = "scaled", member: str = "") -> bytes:
    """`member` puts the config at another path."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        for path, body in {member or f"{name}/config.pbtxt": config.encode(), f"{name}/1/model.onnx": graph}.items():
            info = tarfile.TarInfo(path)
            info.size = len(body)
            packed.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


def a_gpu_stack(name: str, bucket: str) -> Stack:
    """A multi-model endpoint `<name>`, and an asynchronous `<name>-slow` that is there once `SlowVersion` names a version."""
    slow = {"Fn::Join": ["", [f"s3://{bucket}/models/slow/versions/", {"Ref": "SlowVersion"}, "/model.tar.gz"]]}
    answers = {"S3OutputPath": f"s3://{bucket}/slow/answers/", "S3FailurePath": f"s3://{bucket}/slow/failures/"}
    resources = {
        "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {"Statement": []}}},
        **_endpoint("", name, {"Mode": "MultiModel", "ModelDataUrl": f"s3://{bucket}/models/"}),
        **_endpoint("Slow", f"{name}-slow", {"ModelDataUrl": slow}, AsyncInferenceConfig={"OutputConfig": answers}),
    }
    for logical_id in ("SlowModel", "SlowConfig", "SlowEndpoint"):
        resources[logical_id]["Condition"] = "SlowWanted"
    version = {"Type": "String", "Default": "none"}
    template = {
        "Parameters": {"SlowVersion": version, "OtherVersion": version},
        "Conditions": {"SlowWanted": {"Fn::Not": [{"Fn::Equals": [{"Ref": "SlowVersion"}, "none"]}]}},
        "Resources": resources,
        "Outputs": {"GpuEndpoint": {"Value": name}},
    }
    return Stack(name=name, template=template)


def _endpoint(prefix: str, name: str, container: dict[str, Any], **config: Any) -> dict[str, Any]:
    variant = {
        "InitialInstanceCount": 1,
        "InitialVariantWeight": 1,
        "InstanceType": "ml.g6.xlarge",
        "ModelName": {"Fn::GetAtt": [f"{prefix}Model", "ModelName"]},
        "VariantName": "AllTraffic",
    }
    image = "763104351884.dkr.ecr.us-east-1.amazonaws.com/sagemaker-tritonserver:26.03-py3"
    role = {"Fn::GetAtt": ["Role", "Arn"]}
    return {
        f"{prefix}Endpoint": {
            "Type": "AWS::SageMaker::Endpoint",
            "Properties": {"EndpointName": name, "EndpointConfigName": {"Fn::GetAtt": [f"{prefix}Config", "EndpointConfigName"]}},
        },
        f"{prefix}Config": {"Type": "AWS::SageMaker::EndpointConfig", "Properties": {"ProductionVariants": [variant], **config}},
        f"{prefix}Model": {
            "Type": "AWS::SageMaker::Model",
            "Properties": {"ExecutionRoleArn": role, "PrimaryContainer": {"Image": image, **container}},
        },
    }
