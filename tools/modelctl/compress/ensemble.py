"""The flat arrays of a TreeEnsembleClassifier or TreeEnsembleRegressor (ai.onnx.ml) as trees that rows can be sent through, and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

__all__ = ["OPERATORS", "Ensemble"]

OPERATORS = {"TreeEnsembleClassifier": "class", "TreeEnsembleRegressor": "target"}
"""And what the attributes of their leaves begin with."""
_LEAF = b"LEAF"
_COMPARE: dict[bytes, Any] = {
    b"BRANCH_LEQ": np.less_equal,
    b"BRANCH_LT": np.less,
    b"BRANCH_GTE": np.greater_equal,
    b"BRANCH_GT": np.greater,
    b"BRANCH_EQ": np.equal,
    b"BRANCH_NEQ": np.not_equal,
}
Integers = NDArray[np.int64]
Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Ensemble:
    """Trees over all nodes of one operator, each node known by its place in the arrays."""

    node: onnx.NodeProto
    attributes: dict[str, Any]
    true: Integers
    false: Integers
    """Places of a branch's children; of a leaf its own."""
    leaf: Mask
    tree: Integers
    """The tree of each node, counted from 0 in the order of the arrays."""
    outputs: Numbers
    """What each leaf adds, [nodes, distinct classes or targets]; 0 for a branch."""
    emits: Mask
    """Which of the outputs a leaf names at all."""

    @classmethod
    def of(cls, node: onnx.NodeProto) -> Ensemble:
        """Raises `KeyError` for a branch without its children."""
        attributes = {attribute.name: _value(attribute) for attribute in node.attribute}
        trees, ids = _array(attributes, "nodes_treeids"), _array(attributes, "nodes_nodeids")
        place = {pair: index for index, pair in enumerate(zip(trees.tolist(), ids.tolist(), strict=True))}
        leaf = np.array([mode == _LEAF for mode in attributes["nodes_modes"]], dtype=np.bool_)
        itself = np.arange(len(ids))
        children = [_array(attributes, f"nodes_{side}nodeids") for side in ("true", "false")]
        true, false = (
            np.array(
                [
                    own if end else place[tree, child]
                    for own, end, tree, child in zip(itself, leaf, trees.tolist(), side.tolist(), strict=True)
                ]
            )
            for side in children
        )
        kind = OPERATORS[node.op_type]
        owners = zip(_array(attributes, f"{kind}_treeids").tolist(), _array(attributes, f"{kind}_nodeids").tolist(), strict=True)
        at = np.array([place[pair] for pair in owners], dtype=np.int64)
        names, column = np.unique(_array(attributes, f"{kind}_ids"), return_inverse=True)
        outputs, emits = np.zeros((len(ids), len(names))), np.zeros((len(ids), len(names)), dtype=np.bool_)
        np.add.at(outputs, (at, column), _array(attributes, f"{kind}_weights").astype(np.float64))
        emits[at, column] = True
        return cls(node, attributes, true, false, leaf, np.unique(trees, return_inverse=True)[1], outputs, emits)

    @property
    def trees(self) -> int:
        return int(np.max(self.tree)) + 1

    @property
    def aggregate(self) -> bytes:
        """How trees are put together: SUM, AVERAGE, MIN or MAX."""
        found: bytes = self.attributes.get("aggregate_function", b"SUM")
        return found

    @cached_property
    def depth(self) -> Integers:
        """Of each node; 0 for the root of a tree."""
        branches = np.flatnonzero(~self.leaf)
        is_child = np.zeros(len(self.leaf), dtype=np.bool_)
        is_child[self.true[branches]] = is_child[self.false[branches]] = True
        depth = np.full(len(self.leaf), -1)
        level, current = 0, np.flatnonzero(~is_child)
        while len(current):
            depth[current] = level
            inner = current[~self.leaf[current]]
            level, current = level + 1, np.concatenate([self.true[inner], self.false[inner]])
        return depth

    @cached_property
    def roots(self) -> Integers:
        """The place of each tree's root, by tree."""
        tops = np.flatnonzero(self.depth == 0)
        return tops[np.argsort(self.tree[tops], kind="stable")]

    def leaves(self, rows: NDArray[Any]) -> Integers:
        """The leaf of each tree that a row of `rows` [rows, features] comes to: [rows, trees]."""
        features, values = _array(self.attributes, "nodes_featureids"), _array(self.attributes, "nodes_values")
        tracks = np.asarray(self.attributes.get("nodes_missing_value_tracks_true") or np.zeros(len(self.leaf)), dtype=np.bool_)
        modes = np.array(self.attributes["nodes_modes"])
        kinds = [(compare, modes == mode) for mode, compare in _COMPARE.items() if mode in self.attributes["nodes_modes"]]
        at = np.repeat(self.roots[np.newaxis], len(rows), axis=0)
        for _ in range(int(np.max(self.depth))):
            found = np.take_along_axis(rows, features[at], axis=1)
            yes = np.isnan(found) & tracks[at]
            for compare, of_kind in kinds:
                yes |= of_kind[at] & compare(found, values[at])
            at = np.where(yes, self.true[at], self.false[at])
        return at

    def written(self, *, kept: Mask, collapsed: Mask, outputs: Numbers, emits: Mask, scale: float = 1.0) -> onnx.NodeProto:
        """The operator with the nodes that are `kept`, of which those `collapsed` are leaves now, that add `outputs` for what they emit.

        Whatever another leaf adds is written as it was, times `scale`.
        """
        places = np.flatnonzero(kept)
        number = np.zeros(len(kept), dtype=np.int64)
        trees = np.unique(self.tree[places], return_index=True)[1]
        number[places] = np.arange(len(places)) - np.repeat(trees, np.diff([*trees, len(places)]))
        ends = (self.leaf | collapsed)[places]
        attributes = {
            name: self._kept(name, value, places, ends, number) for name, value in self.attributes.items() if name.startswith("nodes_")
        }
        attributes |= self._added(kept & (self.leaf | collapsed), outputs * scale, emits, number)
        rest = {name: value for name, value in self.attributes.items() if name not in attributes}
        changed = onnx.NodeProto()
        changed.CopyFrom(self.node)
        del changed.attribute[:]
        full = {name: value for name, value in sorted((attributes | rest).items()) if not _says_nothing(name, value)}
        changed.attribute.extend(_attribute(name, value) for name, value in full.items())
        return changed

    def _kept(self, name: str, value: Any, places: Integers, ends: Mask, number: Integers) -> Any:
        """An attribute of nodes for those that stay. Nodes are numbered anew within each tree, as some runtimes expect them to be."""
        if name == "nodes_nodeids":
            return number[places].tolist()
        if name in {"nodes_truenodeids", "nodes_falsenodeids"}:
            child = self.true if name == "nodes_truenodeids" else self.false
            return np.where(ends, 0, number[child[places]]).tolist()
        if isinstance(value, np.ndarray):
            return np.where(ends, 0, value[places]).astype(value.dtype) if name == "nodes_values_as_tensor" else value[places]
        nothing = {"nodes_modes": _LEAF, "nodes_treeids": None}.get(name, 0)
        new = ends & ~self.leaf[places]
        return [
            nothing if is_new and nothing is not None else value[place] for place, is_new in zip(places.tolist(), new.tolist(), strict=True)
        ]

    def _added(self, ends: Mask, weights: Numbers, emits: Mask, number: Integers) -> dict[str, Any]:
        """Attributes of what leaves add, leaf by leaf in the order of the nodes."""
        kind = OPERATORS[self.node.op_type]
        at, column = np.nonzero(emits & ends[:, np.newaxis])
        ids = np.unique(_array(self.attributes, f"{kind}_ids"))
        name = f"{kind}_weights" if f"{kind}_weights" in self.attributes else f"{kind}_weights_as_tensor"
        values = weights[at, column]
        return {
            f"{kind}_treeids": _array(self.attributes, "nodes_treeids")[at].tolist(),
            f"{kind}_nodeids": number[at].tolist(),
            f"{kind}_ids": ids[column].tolist(),
            name: values.astype(np.float32).tolist() if name == f"{kind}_weights" else values.astype(self.attributes[name].dtype),
        }


def _says_nothing(name: str, value: Any) -> bool:
    """How often training came by, which no answer depends on, and that no missing value goes where the condition holds."""
    return name.startswith("nodes_hitrates") or (name == "nodes_missing_value_tracks_true" and not any(value))


def _value(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _array(attributes: dict[str, Any], name: str) -> NDArray[Any]:
    """As FP32 or whole numbers, or as the precise tensor that newer operator sets may have instead."""
    if (values := attributes.get(f"{name}_as_tensor")) is not None:
        return np.asarray(values)
    return np.asarray(attributes[name], dtype=np.float32 if name.endswith(("_values", "_weights")) else np.int64)


def _attribute(name: str, value: Any) -> onnx.AttributeProto:
    if isinstance(value, np.ndarray):
        value = numpy_helper.from_array(value)
    kind = onnx.AttributeProto.FLOATS if name.endswith(("_values", "_weights")) else None
    if isinstance(value, list) and not value:
        kind = kind or onnx.AttributeProto.INTS
    return helper.make_attribute(name, value, attr_type=kind)
