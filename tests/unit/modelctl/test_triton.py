"""What Triton is given to load, held against its own schema and against the rules of its source (core/src/model_config_utils.cc)."""

import subprocess
import sys
import tarfile
from math import prod
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2 as schema

from models.config import GpuConfig
from modelserve.manifest import File, Manifest, TensorSpec
from modelserve.record import replace
from modelserve.tensors import DATATYPES
from tests.unit.modelctl.factories import draft
from tools.modelctl import triton
from tools.modelctl.errors import BuildFailed

REALTIME = GpuConfig()
TENSORRT = GpuConfig(tensorrt=True)
NUMBER = 0x9372C470
"""The version that Triton is told: how the SHA-256 of `model` begins."""
SERVED = sorted(set(DATATYPES) - {"BF16"})


def manifest(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = ()) -> Manifest:
    return replace(draft(), inputs=inputs or draft().inputs, outputs=outputs or draft().outputs)


def spec(*shape: int, name: str = "x", datatype: str = "FP32") -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape)


def listed(found: Manifest) -> Manifest:
    return replace(found, files=(File(path="model.onnx", size=3, sha256="ab" * 32),))


dims = st.one_of(st.just(-1), st.integers(1, 9))
shapes = st.lists(dims, max_size=4).map(tuple)
specs = st.builds(lambda shape, datatype: (shape, datatype), shapes, st.sampled_from(SERVED))
signatures = st.tuples(st.lists(specs, min_size=1, max_size=3), st.lists(specs, min_size=1, max_size=3)).map(
    lambda found: manifest(
        *(spec(*shape, name=f"in {place}", datatype=datatype) for place, (shape, datatype) in enumerate(found[0])),
        outputs=tuple(spec(*shape, name=f"out {place}", datatype=datatype) for place, (shape, datatype) in enumerate(found[1])),
    )
)
gpus = st.one_of(
    st.builds(GpuConfig, tensorrt=st.booleans(), instance_count=st.integers(1, 16), queue_delay=st.integers(0, 1_000_000)),
    st.builds(GpuConfig, max_batch=st.just(0), tensorrt=st.booleans()),
    st.builds(GpuConfig, mode=st.just("async"), tensorrt=st.booleans()),
)


@given(found=signatures, gpu=gpus)
def test_the_text_is_the_configuration_in_tritons_schema(found: Manifest, gpu: GpuConfig) -> None:
    made = triton.config(listed(found), gpu)
    assert text_format.Parse(triton.text(listed(found), gpu), schema.ModelConfig()) == made
    assert (made.name, made.backend, made.platform) == ("fruit", "onnxruntime", "onnxruntime_onnx")
    assert not made.response_cache.enable
    (group,) = made.instance_group
    assert (group.kind, group.count) == (schema.ModelInstanceGroup.KIND_GPU, gpu.instance_count)


@given(found=signatures, gpu=gpus)
def test_a_shape_is_the_batch_and_its_dims_as_the_graph_has_them(found: Manifest, gpu: GpuConfig) -> None:
    """`ValidateIOShape` takes it, and `CompareDimsSupported` finds the graph's own shape in it."""
    made = triton.config(listed(found), gpu)
    for told, own in zip((*made.input, *made.output), (*found.inputs, *found.outputs), strict=True):
        assert told.name == own.name
        assert schema.DataType.Name(told.data_type) == "TYPE_" + own.datatype.replace("BYTES", "STRING")
        assert told.dims
        assert all(dim == -1 or dim >= 1 for dim in told.dims)
        if told.HasField("reshape"):
            assert made.max_batch_size
            assert (list(told.dims), list(told.reshape.shape), own.shape) == ([1], [], (-1,))
        elif own.shape:
            assert (*([-1] if made.max_batch_size else []), *told.dims) == own.shape
        else:
            assert (made.max_batch_size, list(told.dims)) == (0, [1])


@given(found=signatures, gpu=gpus)
def test_batches_are_joined_only_where_every_tensor_begins_with_a_dynamic_dimension(found: Manifest, gpu: GpuConfig) -> None:
    made = triton.config(listed(found), gpu)
    possible = all(own.shape[:1] == (-1,) for own in (*found.inputs, *found.outputs))
    assert made.max_batch_size == (triton.MAX_BATCH if possible and gpu.mode == "realtime" and gpu.max_batch is None else 0)
    assert made.max_batch_size == triton.max_batch(found, gpu)
    assert made.HasField("dynamic_batching") == (made.max_batch_size > 1)


@given(found=signatures, gpu=gpus)
def test_every_warm_up_is_a_request_that_fits(found: Manifest, gpu: GpuConfig) -> None:
    """One that fails keeps the model from loading."""
    made = triton.config(listed(found), gpu)
    sizes = [sample.batch_size for sample in made.model_warmup]
    assert sizes == ([1, made.max_batch_size] if gpu.tensorrt and made.max_batch_size else [1])
    for sample in made.model_warmup:
        assert set(sample.inputs) == {own.name for own in made.input}
        for own in made.input:
            given_ = sample.inputs[own.name]
            assert given_.zero_data
            assert given_.data_type == own.data_type
            assert [dim if of > 0 else -1 for dim, of in zip(given_.dims, own.dims, strict=True)] == list(own.dims)
            assert prod(given_.dims) > 0


@pytest.mark.parametrize(
    ("gpu", "size"), [(GpuConfig(), 32), (GpuConfig(max_batch=7), 7), (GpuConfig(max_batch=0), 0), (GpuConfig(mode="async"), 0)]
)
def test_max_batch_is_what_model_toml_says(gpu: GpuConfig, size: int) -> None:
    assert triton.max_batch(draft(), gpu) == size


@pytest.mark.parametrize(
    ("found", "tensor"),
    [
        (manifest(spec(4, 2)), r"'x' has shape \[4, 2\]"),
        (manifest(spec()), r"'x' has shape \[\]"),
        (manifest(outputs=(spec(1, name="y"),)), r"'y' has shape \[1\]"),
    ],
)
def test_a_batch_that_a_tensor_cannot_hold_is_refused_by_its_name(found: Manifest, tensor: str) -> None:
    with pytest.raises(BuildFailed, match=rf"fruit can't be batched: tensor {tensor}.*set max_batch = 0 in \[gpu\]"):
        triton.max_batch(found, GpuConfig(max_batch=8))
    assert triton.max_batch(found, REALTIME) == 0


@pytest.mark.parametrize(
    ("found", "told"),
    [(manifest(spec(-1, 0)), "serves no empty dimension"), (manifest(spec(-1, datatype="BF16")), "is BF16, which Triton's ONNX backend")],
)
def test_what_tritons_onnx_backend_does_not_take_is_refused(found: Manifest, told: str) -> None:
    with pytest.raises(BuildFailed, match=rf"tensor 'x'.*{told}"):
        triton.config(found, REALTIME)


def test_preferred_sizes_and_the_delay_are_those_of_model_toml() -> None:
    batching = triton.config(draft(), GpuConfig(max_batch=16, preferred_batch_sizes=(16, 4), queue_delay=900)).dynamic_batching
    assert (list(batching.preferred_batch_size), batching.max_queue_delay_microseconds) == ([4, 16], 900)


def test_a_batch_of_one_waits_for_nobody() -> None:
    assert not triton.config(draft(), GpuConfig(max_batch=1)).HasField("dynamic_batching")


def test_tensorrt_runs_in_fp16_and_keeps_an_engine_for_its_own_weights() -> None:
    """The keys are those that onnxruntime_backend's README lists; it refuses others."""

    def accelerators(found: Manifest, gpu: GpuConfig) -> list[Any]:
        return list(triton.config(found, gpu).optimization.execution_accelerators.gpu_execution_accelerator)

    assert accelerators(draft(), REALTIME) == []
    (accelerator,) = accelerators(listed(draft()), TENSORRT)
    assert accelerator.name == "tensorrt"
    parameters = dict(accelerator.parameters)
    assert parameters.pop("trt_engine_cache_path").endswith(f"fruit-{'ab' * 8}")
    assert parameters == {"precision_mode": "FP16", "trt_engine_cache_enable": "1"}


def test_a_model_that_refuses_zeros_is_not_warmed_up_with_them() -> None:
    assert not triton.config(draft(), REALTIME, warm_up=False).model_warmup


def write(folder: Path, gpu: GpuConfig = REALTIME, model: bytes = b"model") -> Path:
    (folder / "model.onnx").write_bytes(model)
    triton.archive(folder / "model.onnx", draft(), gpu, folder / "model.tar.gz")
    return folder / "model.tar.gz"


def test_the_archive_is_a_folder_of_the_models_name(tmp_path: Path) -> None:
    with tarfile.open(write(tmp_path)) as archive:
        members = {member.name: member for member in archive}
        assert set(members) == {"fruit/config.pbtxt", f"fruit/{NUMBER}/model.onnx"}
        assert all(member.isreg() and not member.mtime and member.mode == 0o644 for member in members.values())
        files = {name: archive.extractfile(name) for name in members}
        contents = {name: file.read() for name, file in files.items() if file}
    assert contents == {"fruit/config.pbtxt": triton.text(draft(), REALTIME), f"fruit/{NUMBER}/model.onnx": b"model"}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.onnx", "model.tar.gz"]


@pytest.mark.parametrize(("gpu", "model"), [(GpuConfig(max_batch=2), b"model"), (TENSORRT, b"model"), (REALTIME, b"other")])
def test_the_same_goes_in_and_the_same_comes_out_and_nothing_else_does(tmp_path: Path, gpu: GpuConfig, model: bytes) -> None:
    first = write(tmp_path).read_bytes()
    assert write(tmp_path).read_bytes() == first
    assert write(tmp_path, gpu, model).read_bytes() != first


def test_another_process_at_another_time_writes_the_same_bytes(tmp_path: Path) -> None:
    """Maps have no order in protobuf, and Python's hashes of text differ between processes."""
    program = f"""
from pathlib import Path
from models.config import GpuConfig
from tests.unit.modelctl.factories import draft
from tools.modelctl import triton
triton.archive(Path({str(tmp_path / "model.onnx")!r}), draft(), GpuConfig(tensorrt=True), Path({str(tmp_path / "other.tar.gz")!r}))
"""
    first = write(tmp_path, TENSORRT)
    environment = {"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3], env=environment, check=True)
    assert (tmp_path / "other.tar.gz").read_bytes() == first.read_bytes()


def test_an_archive_that_could_not_be_written_leaves_the_one_that_was_there(tmp_path: Path) -> None:
    before = write(tmp_path).read_bytes()
    with pytest.raises(BuildFailed):
        triton.archive(tmp_path / "model.onnx", manifest(spec(-1, datatype="BF16")), REALTIME, tmp_path / "model.tar.gz")
    assert (tmp_path / "model.tar.gz").read_bytes() == before


def test_other_commands_do_not_pay_for_grpc() -> None:
    program = "import sys, tools.modelctl.cli, tools.modelctl.triton; print('grpc' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        check=True,
    )
    assert done.stdout.strip() == b"False"
