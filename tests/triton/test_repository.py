from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as schema

from models.config import GpuConfig
from modelserve.record import replace
from tests.triton.repository import MODEL, adapt, adapted
from tests.unit.modelserve.factories import manifest
from tests.unit.modelserve.graphs import pair, session
from tools.modelctl import triton


def shipped() -> str:
    ran = session(pair())
    gpu = GpuConfig(max_batch=8, preferred_batch_sizes=(4, 8), queue_delay=700, instance_count=2)
    return triton.text(replace(manifest(), inputs=ran.inputs, outputs=ran.outputs), gpu).decode()


def parsed(text: str) -> schema.ModelConfig:
    return text_format.Parse(text, schema.ModelConfig())


def test_a_shipped_configuration_is_changed_in_engine_and_device_and_nothing_else():
    expected, found = parsed(shipped()), parsed(adapted(shipped()))
    assert (expected.backend, expected.platform) == ("onnxruntime", "onnxruntime_onnx")
    assert [group.kind for group in expected.instance_group] == [schema.ModelInstanceGroup.KIND_GPU]
    expected.backend, expected.platform = "python", ""
    expected.instance_group[0].kind = schema.ModelInstanceGroup.KIND_CPU
    assert found == expected


def test_a_configuration_that_pins_gpus_and_a_file_runs_without():
    found = parsed(adapted('backend: "onnxruntime" default_model_filename: "model.onnx" instance_group [{ kind: KIND_GPU gpus: [0, 1] }]'))
    assert found.default_model_filename == ""
    assert list(found.instance_group[0].gpus) == []


def test_a_configuration_that_is_none_is_left_to_triton():
    assert adapted("max_batch_size: many") == "max_batch_size: many"


def test_an_archive_gets_a_model_beside_its_graph_and_stays_as_it_was(tmp_path: Path):
    made = tmp_path / "archive" / "sample"
    (made / "1").mkdir(parents=True)
    (made / "config.pbtxt").write_text(shipped())
    (made / "1" / "model.onnx").write_bytes(pair())
    adapt(tmp_path / "archive", tmp_path / "model")
    assert (tmp_path / "model" / "sample" / "1" / "model.py").read_bytes() == MODEL.read_bytes()
    assert (tmp_path / "model" / "sample" / "1" / "model.onnx").read_bytes() == pair()
    assert (tmp_path / "model" / "sample" / "config.pbtxt").read_text() == adapted(shipped())
    assert sorted(file.name for file in (tmp_path / "archive").rglob("*") if file.is_file()) == ["config.pbtxt", "model.onnx"]
    assert (made / "config.pbtxt").read_text() == shipped()
