"""A model of data sets: `price` is `rooms` times the factor of its version, both columns of their own."""

from pathlib import Path

from onnx import TensorProto, helper

from modelserve.manifest import MODEL_FILE, Manifest, TensorSpec
from modelserve.registry import Registry
from tests.unit.modelserve.graphs import graph, value
from tests.unit.modelserve.stores import BY

_ROOMS, _PRICE = (TensorSpec(name=name, datatype="FP32", shape=(-1, 1)) for name in ("rooms", "price"))


def release(
    registry: Registry, folder: Path, factor: float, *, name: str = "price", row_wise: bool | None = True, less_mean: bool = False
) -> str:
    """Publishes and promotes; the version. With `less_mean` a price is that less the mean of all prices of the request."""
    draft = Manifest(
        name=name,
        version="",
        created="",
        task="regression",
        inputs=(_ROOMS,),
        outputs=(_PRICE,),
        files=(),
        opset={"": 21},
        ir=10,
        row_wise=row_wise,
    )
    file = folder / "price.onnx"
    file.write_bytes(_times(factor, less_mean=less_mean))
    version = registry.publish(draft, {MODEL_FILE: file}).version
    registry.promote(name, version, alias="production", **BY)
    return version


def _times(factor: float, *, less_mean: bool) -> bytes:
    constant = helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor])
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [0])
    nodes = [
        helper.make_node("Mul", ["rooms", "factor"], ["all" if less_mean else "price"]),
        helper.make_node("ReduceMean", ["all", "axes"], ["mean"]),
        helper.make_node("Sub", ["all", "mean"], ["price"]),
    ]
    return graph(
        nodes if less_mean else nodes[:1], [value("rooms", "FP32", ("rows", 1))], [value("price", "FP32", ("rows", 1))], [constant, axes]
    )
