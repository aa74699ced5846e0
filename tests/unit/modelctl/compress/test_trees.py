"""Ensembles that lose trees and leaves: what stays answers as it did, and what went is answered by its mean."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from threadpoolctl import threadpool_limits

from tests.unit.modelctl.compress.subjects import ensemble_node, numbers, subject
from tools.modelctl import convert, evaluate
from tools.modelctl.compress.ensemble import Ensemble
from tools.modelctl.compress.probing import answers
from tools.modelctl.compress.subject import Inapplicable
from tools.modelctl.compress.trees import Reached, prune_trees

X = numbers(300, 4)
TWO = (X[:, 0] * X[:, 1] > 0).astype(np.int64)
THREE = np.digitize(X[:, 0] + X[:, 1] ** 2, [0, 1])
NUMBER = X[:, 0] * 3 + X[:, 1] ** 2
WITH_GAPS = np.where(numbers(300, 4, seed=3) > 1.2, np.nan, X).astype(np.float32)
FITTED: dict[str, Callable[[], Any]] = {
    "tree": lambda: DecisionTreeClassifier(max_depth=4).fit(X, THREE),
    "tree of words": lambda: DecisionTreeClassifier(max_depth=4).fit(X, np.array(["no", "yes"])[TWO]),
    "regression tree": lambda: DecisionTreeRegressor(max_depth=4).fit(X, NUMBER),
    "forest": lambda: RandomForestClassifier(5, max_depth=4, random_state=0).fit(X, THREE),
    "forest of two": lambda: RandomForestClassifier(5, max_depth=4, random_state=0).fit(X, TWO),
    "regression forest": lambda: RandomForestRegressor(5, max_depth=4, random_state=0).fit(X, NUMBER),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=5, random_state=0).fit(X, THREE),
    "boosting of two": lambda: GradientBoostingClassifier(n_estimators=5, random_state=0).fit(X, TWO),
    "regression boosting": lambda: GradientBoostingRegressor(n_estimators=5, random_state=0).fit(X, NUMBER),
    "histograms": lambda: HistGradientBoostingClassifier(max_iter=3, max_leaf_nodes=7).fit(WITH_GAPS, THREE),
    "regression histograms": lambda: HistGradientBoostingRegressor(max_iter=3, max_leaf_nodes=7).fit(WITH_GAPS, NUMBER),
}
KINDS = sorted(FITTED)


@cache
def converted(kind: str) -> ModelProto:
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # of protobuf, about numbers that skl2onnx writes for histograms
        return convert.convert("trees", "regression" if kind.startswith("regression") else "classification", FITTED[kind](), X)


@cache
def reached(kind: str) -> Reached:
    ensemble = Ensemble.of(ensemble_node(converted(kind)))
    return Reached.by(ensemble, ensemble.leaves(rows(kind)))


def rows(kind: str) -> np.ndarray:
    return WITH_GAPS if "histograms" in kind else X


def with_node(model: ModelProto, node: NodeProto | None) -> ModelProto:
    assert node is not None
    changed = ModelProto()
    changed.CopyFrom(model)
    ensemble_node(changed).CopyFrom(node)
    return changed


def added(ensemble: Ensemble, leaves: np.ndarray) -> np.ndarray:
    return np.asarray(ensemble.outputs[leaves].sum(axis=1))


@pytest.mark.parametrize("kind", KINDS)
def test_pruning_nothing_answers_bit_for_bit_the_same(kind: str) -> None:
    model, node = converted(kind), reached(kind).written()
    assert node is not None
    changed = with_node(model, node)
    assert len(changed.SerializeToString()) < len(model.SerializeToString())  # without what no answer depends on
    inputs = {"input": np.concatenate([rows(kind), numbers(50, 4, seed=9)])}
    expected, found = answers(model, inputs), answers(changed, inputs)
    assert all(np.array_equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("regression")])
def test_rows_are_sent_where_onnx_runtime_sends_them(kind: str) -> None:
    ensemble = reached(kind).ensemble
    base = ensemble.attributes.get("base_values", [0.0])[0]
    expected = answers(converted(kind), {"input": rows(kind)})["prediction"]
    np.testing.assert_allclose(added(ensemble, reached(kind).leaves) + base, expected, rtol=1e-5, atol=1e-5)


@settings(max_examples=30)
@given(st.sampled_from(KINDS), st.floats(0, 0.5))
def test_a_collapsed_node_answers_the_mean_of_its_rows(kind: str, alpha: float) -> None:
    before = reached(kind)
    node = before.written(alpha=alpha)
    if node is None:
        return
    after = Ensemble.of(node)
    leaves = after.leaves(rows(kind))
    for tree in range(after.trees):
        for leaf in np.unique(leaves[:, tree]):
            here = leaves[:, tree] == leaf
            old = before.leaves[here, tree]
            np.testing.assert_allclose(after.outputs[leaf], before.ensemble.outputs[old].mean(axis=0), rtol=1e-5, atol=1e-6)


@settings(max_examples=20)
@given(st.sampled_from(KINDS), st.floats(0, 0.2), st.data())
def test_rows_that_come_to_no_new_leaf_are_answered_the_same(kind: str, alpha: float, data: st.DataObject) -> None:
    before = reached(kind)
    mask = before.collapsed(alpha)
    node = before.written(alpha=alpha)
    if node is None:
        return
    cut = mask | below(before.ensemble, mask)
    kept = ~cut[before.leaves].any(axis=1)
    expected, found = (answers(model, {"input": rows(kind)}) for model in (converted(kind), with_node(converted(kind), node)))
    assert all(np.array_equal(expected[name][kept], found[name][kept]) for name in expected)


def below(ensemble: Ensemble, mask: np.ndarray) -> np.ndarray:
    found = mask.copy()
    for place in np.argsort(ensemble.depth):
        if found[place]:
            found[ensemble.true[place]] = found[ensemble.false[place]] = True
    return found


@given(st.sampled_from(KINDS), st.floats(1e-6, 0.5))
def test_of_all_ways_to_cut_a_tree_the_cheapest_is_taken(kind: str, alpha: float) -> None:
    """Breiman's R + alpha * leaves."""
    one = reached(kind)
    price = alpha * one.variation

    def cheapest(node: int) -> float:
        if one.ensemble.leaf[node]:
            return float(price)
        return min(float(one.spread[node] + price), cheapest(int(one.ensemble.true[node])) + cheapest(int(one.ensemble.false[node])))

    cut = one.collapsed(alpha)

    def cost(node: int) -> float:
        if cut[node] or one.ensemble.leaf[node]:
            return float(one.spread[node] + price)
        return cost(int(one.ensemble.true[node])) + cost(int(one.ensemble.false[node]))

    root = int(one.ensemble.roots[0])
    assert cost(root) == pytest.approx(cheapest(root))


def test_the_spread_of_a_node_is_how_far_its_rows_lie_from_their_mean() -> None:
    one = reached("forest")
    at_root = one.ensemble.outputs[one.leaves[:, 0]]
    root = one.ensemble.roots[0]
    assert one.count[root] == len(X)
    assert one.spread[root] == pytest.approx(np.sum((at_root - at_root.mean(axis=0)) ** 2))


def test_what_no_row_reaches_becomes_the_mean_of_its_leaves() -> None:
    ensemble = Ensemble.of(ensemble_node(converted("regression tree")))
    (root,) = ensemble.roots
    left = X[ensemble.leaves(X)[:, 0] < ensemble.false[root]]  # only the rows of the true side, whose places come first
    one = Reached.by(ensemble, ensemble.leaves(left))
    side = int(ensemble.false[root])
    inside = [place for place in range(side, len(ensemble.leaf)) if ensemble.leaf[place]]
    assert one.count[side] == 0
    assert one.mean[side] == pytest.approx(ensemble.outputs[inside].mean(axis=0))
    assert one.collapsed(0.0)[side]


MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]


def stump(mode: str, tracks: int, aggregate: str = "SUM", trees: int = 1) -> ModelProto:
    """Adds 10 (times the tree's number from 1) where `x mode 0.5` holds, or else 20."""
    numbered = range(trees)
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["input"],
        ["prediction"],
        domain="ai.onnx.ml",
        aggregate_function=aggregate,
        n_targets=1,
        nodes_treeids=[tree for tree in numbered for _ in range(3)],
        nodes_nodeids=[0, 1, 2] * trees,
        nodes_featureids=[0, 0, 0] * trees,
        nodes_modes=[mode, "LEAF", "LEAF"] * trees,
        nodes_values=[0.5, 0.0, 0.0] * trees,
        nodes_truenodeids=[1, 0, 0] * trees,
        nodes_falsenodeids=[2, 0, 0] * trees,
        nodes_missing_value_tracks_true=[tracks, 0, 0] * trees,
        target_treeids=[tree for tree in numbered for _ in range(2)],
        target_nodeids=[1, 2] * trees,
        target_ids=[0, 0] * trees,
        target_weights=[value for tree in numbered for value in (10.0 * (tree + 1), 20.0 * (tree + 1))],
    )
    given_rows = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["rows", 1])
    answer = helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["rows", 1])
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(helper.make_graph([node], "stump", [given_rows], [answer]), opset_imports=imports, ir_version=8)


VALUES = np.array([[0.4], [0.5], [0.6], [np.nan]], np.float32)


@pytest.mark.parametrize("tracks", [0, 1])
@pytest.mark.parametrize("mode", MODES)
def test_every_condition_and_missing_values_go_the_way_of_onnx_runtime(mode: str, tracks: int) -> None:
    model = stump(mode, tracks)
    ensemble = Ensemble.of(ensemble_node(model))
    leaves = ensemble.leaves(VALUES)
    assert np.array_equal(added(ensemble, leaves), answers(model, {"input": VALUES})["prediction"])
    node = Reached.by(ensemble, leaves).written()
    assert node is not None
    assert np.array_equal(answers(with_node(model, node), {"input": VALUES})["prediction"], added(ensemble, leaves))


@pytest.mark.parametrize(
    ("aggregate", "scale", "expected"), [("SUM", 3 / 2, 10 * 4 * 1.5), ("AVERAGE", 1.0, 10 * 2), ("MIN", 1.0, 10), ("MAX", 1.0, 30)]
)
def test_trees_go_whatever_puts_them_together(aggregate: str, scale: float, expected: float) -> None:
    model = stump("BRANCH_LEQ", 0, aggregate, trees=3)
    ensemble = Ensemble.of(ensemble_node(model))
    node = Reached.by(ensemble, ensemble.leaves(VALUES)).written(trees=np.array([True, False, True]), scale=scale)
    assert node is not None
    assert answers(with_node(model, node), {"input": VALUES[:1]})["prediction"] == [[expected]]


def test_precise_tensors_of_newer_operator_sets_stay_precise() -> None:
    model = stump("BRANCH_LEQ", 0)
    node = ensemble_node(model)
    for name in ("nodes_values", "target_weights"):
        (attribute,) = (attribute for attribute in node.attribute if attribute.name == name)
        values = np.array(attribute.floats, np.float64) + 1e-12
        node.attribute.remove(attribute)
        node.attribute.append(helper.make_attribute(f"{name}_as_tensor", numpy_helper.from_array(values)))
    ensemble = Ensemble.of(node)
    written = Reached.by(ensemble, ensemble.leaves(VALUES)).written()
    assert written is not None
    assert np.array_equal(Ensemble.of(written).outputs, ensemble.outputs)
    assert Ensemble.of(written).attributes["nodes_values_as_tensor"].dtype == np.float64


def test_a_class_never_loses_its_last_tree() -> None:
    one = reached("boosting")
    assert one.written(trees=np.arange(one.ensemble.trees) % 3 != 1) is None


def test_a_single_score_keeps_its_border() -> None:
    """Once no weight is negative, ONNX Runtime would take it for a probability."""
    one = reached("boosting of two")
    outputs = np.abs(one.ensemble.outputs)
    outputs[one.ensemble.tree == 0] *= -1
    below_zero = replace(one, ensemble=replace(one.ensemble, outputs=outputs))
    numbered = np.arange(one.ensemble.trees)
    assert below_zero.written(trees=numbered > 0) is None
    assert below_zero.written(trees=numbered < 2) is not None


FORESTS = {
    "classification": (RandomForestClassifier(16, max_depth=5, random_state=0), TWO),
    "regression": (RandomForestRegressor(16, max_depth=5, random_state=0), NUMBER),
}


@pytest.mark.parametrize("task", FORESTS)
def test_a_forest_has_fewer_trees_that_weigh_more(task: str) -> None:
    estimator, y = FORESTS[task]
    whole = subject(task, estimator.fit(X[:220], y[:220]), X[:220], y[:220], max_drop=0.05)
    before = whole.model.SerializeToString()
    small = prune_trees(whole)
    assert small.ByteSize() < 0.7 * whole.model.ByteSize()
    assert Ensemble.of(ensemble_node(small)).trees < 16
    metric = "accuracy" if task == "classification" else "r2"
    found = [evaluate.score(task, None, y[220:], answers(model, {"input": X[220:]}))[metric] for model in (whole.model, small)]
    assert found[0] - found[1] <= 0.1
    if task == "classification":
        np.testing.assert_allclose(answers(small, {"input": X})["probabilities"].sum(axis=1), 1, atol=1e-5)
    assert convert.signature(small) == convert.signature(whole.model)
    assert whole.model.SerializeToString() == before
    assert prune_trees(whole).SerializeToString() == small.SerializeToString()


def test_boosting_keeps_its_first_rounds() -> None:
    fitted = GradientBoostingRegressor(n_estimators=40, learning_rate=0.3, max_depth=2, random_state=0).fit(X, NUMBER)
    whole = subject("regression", fitted, X, NUMBER, max_drop=0.2)
    small, first = prune_trees(whole), Ensemble.of(ensemble_node(whole.model))
    left = Ensemble.of(ensemble_node(small))
    assert left.trees < 40
    roots = [one.attributes["nodes_values"][place] for one in (first, left) for place in one.roots[: left.trees // 2]]
    assert roots[: len(roots) // 2] == roots[len(roots) // 2 :]


def test_ensembles_within_a_graph_lose_leaves_alone() -> None:
    fitted = AdaBoostClassifier(DecisionTreeClassifier(max_depth=3), n_estimators=3, random_state=0).fit(X, THREE)
    whole = subject("classification", fitted, X, THREE, max_drop=0.1)
    small = prune_trees(whole)
    assert small.ByteSize() < whole.model.ByteSize()
    assert [node.op_type for node in small.graph.node] == [node.op_type for node in whole.model.graph.node]


def test_a_graph_without_trees_is_told_what_applies() -> None:
    with pytest.raises(Inapplicable, match="`prune`"):
        prune_trees(subject("classification", LogisticRegression().fit(X, TWO), X, TWO))


def test_an_ensemble_that_cannot_spare_anything_says_so() -> None:
    whole = subject("regression", DecisionTreeRegressor(max_depth=1).fit(X, NUMBER), X, NUMBER, max_drop=0.0)
    bare = with_node(whole.model, Reached.by(*sent(whole.model)).written())  # nothing left that says nothing
    with pytest.raises(Inapplicable, match="max_drop"):
        prune_trees(replace(whole, model=bare))


def sent(model: ModelProto) -> tuple[Ensemble, np.ndarray]:
    ensemble = Ensemble.of(ensemble_node(model))
    return ensemble, ensemble.leaves(X)
