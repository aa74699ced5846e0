"""Makes an ensemble of trees smaller: fewer trees, and subtrees whose leaves hardly differ, or that no row reaches, as one leaf.

Subtrees go by minimal cost-complexity pruning (Breiman and others, "Classification and Regression Trees", 1984, chapter 3):
of all ways to cut a tree the one with the least R + alpha * leaves. R here is how far the tree's answers move, summed squares over rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import onnx
from threadpoolctl import threadpool_limits

from tools.modelctl.compress.ensemble import OPERATORS, Ensemble, Integers, Mask, Numbers
from tools.modelctl.compress.probing import inner
from tools.modelctl.compress.subject import Inapplicable, Subject
from tools.modelctl.compress.validation import Validation, furthest, validation
from tools.modelctl.parity import Answers

__all__ = ["Reached", "prune_trees"]

_ROWS = 20_000  # that are sent through the trees
_GREEDY_ROWS = 2_000
_ALPHAS = (-1.0, 0.0, *np.geomspace(1e-8, 1e-1, 29))
"""Prices of a leaf, as a share of how much all trees' answers vary; below 0 every leaf stays."""
_SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05, 0.02)
"""Of the trees that stay."""


@dataclass(frozen=True)
class Reached:
    """An ensemble, and what came of each node when rows were sent through it."""

    ensemble: Ensemble
    leaves: Integers
    """As `Ensemble.leaves` answers: [rows, trees]."""
    count: Numbers
    """Rows at each node."""
    mean: Numbers
    """What a node answers its rows in the mean, [nodes, outputs]; of one that no row reaches, the mean of its leaves."""
    spread: Numbers
    """How far those answers lie from their mean: summed squares over rows."""
    emits: Mask

    @classmethod
    def by(cls, ensemble: Ensemble, leaves: Integers) -> Reached:
        """After `leaves`, which `Ensemble.leaves` answers for the rows."""
        nodes = len(ensemble.leaf)
        count = np.bincount(leaves.ravel(), minlength=nodes).astype(np.float64)
        below = ensemble.leaf.astype(np.float64)
        total, plain = ensemble.outputs * count[:, np.newaxis], ensemble.outputs.copy()
        square = np.sum(total * ensemble.outputs, axis=1)
        emits = ensemble.emits.copy()
        for level in _upwards(ensemble):
            for values in (count, below, total, plain, square, emits):
                values[level] = values[ensemble.true[level]] + values[ensemble.false[level]]
        mean = np.where(count[:, np.newaxis] > 0, total / np.maximum(count, 1)[:, np.newaxis], plain / np.maximum(below, 1)[:, np.newaxis])
        spread = np.maximum(square - np.sum(total * mean, axis=1), 0.0)
        # Rounding is no difference.
        return cls(ensemble, leaves, count, mean, np.where(spread <= 1e-12 * square, 0.0, spread), emits)

    @cached_property
    def variation(self) -> float:
        """Of all trees, what `alpha` is a share of."""
        return float(self.spread[self.ensemble.roots].sum()) or 1.0

    def collapsed(self, alpha: float) -> Mask:
        """Branches that become leaves when a leaf costs `alpha`, none below 0; of two cuts that cost the same, the smaller tree."""
        ensemble, price = self.ensemble, alpha * self.variation
        best = np.where(ensemble.leaf, price, 0.0)
        cut = np.zeros(len(best), dtype=np.bool_)
        for level in _upwards(ensemble):
            apart = best[ensemble.true[level]] + best[ensemble.false[level]]
            together = self.spread[level] + price
            cut[level], best[level] = together <= apart, np.minimum(together, apart)
        return cut

    def written(self, *, alpha: float = -1.0, trees: Mask | None = None, scale: float = 1.0) -> onnx.NodeProto | None:
        """The operator with those trees alone, cut for `alpha`; None where that would change how ONNX Runtime reads what is left."""
        ensemble = self.ensemble
        stays = np.ones(ensemble.trees, dtype=np.bool_) if trees is None else trees
        cut = self.collapsed(alpha)
        kept = stays[ensemble.tree] & _above(ensemble, cut)
        cut &= kept
        outputs = np.where(cut[:, np.newaxis], self.mean, ensemble.outputs)
        emits = np.where(cut[:, np.newaxis], self.emits, ensemble.emits)
        ends = kept & (ensemble.leaf | cut)
        if not _reads_alike(ensemble, ends, outputs, emits):
            return None
        return ensemble.written(kept=kept, collapsed=cut, outputs=outputs, emits=emits, scale=scale)


def _upwards(ensemble: Ensemble) -> Iterator[Integers]:
    """Branches, level by level, children before their parents."""
    for level in range(int(np.max(ensemble.depth)), -1, -1):
        yield np.flatnonzero((ensemble.depth == level) & ~ensemble.leaf)


def _above(ensemble: Ensemble, cut: Mask) -> Mask:
    """Nodes that are not below one that is cut."""
    kept = np.ones(len(cut), dtype=np.bool_)
    for level in reversed(list(_upwards(ensemble))):
        inside = kept[level] & ~cut[level]
        kept[ensemble.true[level]] = kept[ensemble.false[level]] = inside
    return kept


def _reads_alike(ensemble: Ensemble, ends: Mask, outputs: Numbers, emits: Mask) -> bool:
    """Whether a leaf is left for every class, and for a negative weight if there was one.

    ONNX Runtime takes a single score as a probability, of which half is the border, unless any weight is negative (its
    tree_ensemble_aggregator.h): then zero is.
    """
    before, after = ensemble.outputs[ensemble.emits], outputs[ends][emits[ends]]
    return bool(emits[ends].any(axis=0).all() and np.any(before < 0) == np.any(after < 0))


def prune_trees(subject: Subject) -> onnx.ModelProto:
    """The smallest with which the drop on validation rows stays within [compress] max_drop, of three searches.

    The trees were fitted to the validation rows, whose metric drops by more than that of held-out rows (the samples, cut to all sizes).
    Leaves alone; the last trees, then leaves (boosting); all but the trees that together answer most like the whole, rescaled, then
    leaves (a forest that averages). Where a graph has several ensembles, as AdaBoost's, only their leaves go.
    Raises `Inapplicable` for a graph without trees, or where nothing can go.
    """
    places = [place for place, node in enumerate(subject.model.graph.node) if node.op_type in OPERATORS and node.domain == "ai.onnx.ml"]
    if not places:
        raise Inapplicable(
            "tree-prune needs a TreeEnsembleClassifier or TreeEnsembleRegressor; this graph has none. "
            "`prune` is for networks, `distill` for any classifier or regression"
        )
    with threadpool_limits(1):
        judge = validation(subject)
        # All rows, those to judge by too: a leaf that is theirs alone must not look as if no row came to it.
        calibration = {name: values[:_ROWS] for name, values in subject.calibration.items()}
        reached = {place: _sent(subject.model, place, calibration) for place in places}
        found = list(_searches(subject.model, reached, judge))
    smallest = min(found, key=onnx.ModelProto.ByteSize, default=subject.model)
    if smallest.ByteSize() >= subject.model.ByteSize():
        raise Inapplicable(
            f"no tree and no leaf of {subject.config.name} can go without a drop of more than {subject.config.compress.max_drop:g}; "
            "raise max_drop in [compress] of model.toml, or use `distill --student tree`"
        )
    return smallest


def _sent(model: onnx.ModelProto, place: int, rows: Answers) -> Reached:
    node = model.graph.node[place]
    ensemble = Ensemble.of(node)
    features = inner(model, [node.input[0]], rows)[node.input[0]]
    return Reached.by(ensemble, ensemble.leaves(features))


@dataclass(frozen=True)
class _Cut:
    """What is taken out of the ensembles of a graph."""

    alpha: float = -1.0
    trees: Mask | None = None
    scale: float = 1.0


def _searches(model: onnx.ModelProto, reached: dict[int, Reached], judge: Validation) -> Iterator[onnx.ModelProto]:
    """The furthest that each search came."""

    def build(cut: _Cut) -> onnx.ModelProto | None:
        return _built(model, {place: one.written(alpha=cut.alpha, trees=cut.trees, scale=cut.scale) for place, one in reached.items()})

    def holds(cut: _Cut) -> bool:
        graph = build(cut)
        return graph is not None and judge.holds(graph)

    ways = [[_Cut()]]
    if len(reached) == 1:
        ways += _fewer(*reached.values())
    for way in ways:
        if (trees := furthest(way, holds)) is None:
            continue
        cut = furthest([replace(trees, alpha=alpha) for alpha in _ALPHAS], holds)
        if (graph := build(cut or trees)) is not None:
            yield graph


def _fewer(reached: Reached) -> list[list[_Cut]]:
    """Two ways to have fewer and fewer trees: the first rounds of boosting as they are, and a forest's best, which weigh more each.

    Which of them an ensemble is nothing in it says for sure; on validation rows the wrong way doesn't hold.
    """
    ensemble = reached.ensemble
    if ensemble.trees < 2:
        return []
    rounds = _rounds(ensemble)
    first = [_Cut(trees=rounds < np.ceil(share * (np.max(rounds) + 1))) for share in _SHARES]
    if ensemble.aggregate not in {b"SUM", b"AVERAGE"} or "base_values" in ensemble.attributes:
        return [first]
    places = np.argsort(_alike(ensemble, reached.leaves[:_GREEDY_ROWS]))
    counts = [int(np.ceil(share * ensemble.trees)) for share in _SHARES]
    scale = ensemble.trees if ensemble.aggregate == b"SUM" else 0
    return [first, [_Cut(trees=places < count, scale=scale / count if scale else 1.0) for count in counts]]


def _rounds(ensemble: Ensemble) -> Integers:
    """How many trees of the same classes there are before each."""
    names = np.zeros((ensemble.trees, ensemble.emits.shape[1]), dtype=np.bool_)
    np.logical_or.at(names, ensemble.tree, ensemble.emits)
    kind = np.unique(names, axis=0, return_inverse=True)[1].ravel()
    rounds = np.zeros(ensemble.trees, dtype=np.int64)
    for one in range(int(np.max(kind)) + 1):
        rounds[kind == one] = np.arange(np.sum(kind == one))
    return rounds


def _alike(ensemble: Ensemble, leaves: Integers) -> Integers:
    """Trees in an order in which the mean of the first few is near the mean of all: each next is the one that brings it nearest.

    Caruana et al., "Ensemble Selection from Libraries of Models" (ICML 2004), without replacement, and towards the whole instead of y.
    """
    answers = ensemble.outputs[leaves].transpose(1, 0, 2).reshape(ensemble.trees, -1)
    products = answers @ answers.T
    whole = products.mean(axis=1)
    own, chosen, order = np.diag(products), np.zeros(ensemble.trees), []
    left = np.ones(ensemble.trees, dtype=np.bool_)
    within = 0.0  # the sum of the chosen, squared
    towards = 0.0  # that sum times the mean of all
    for count in range(1, ensemble.trees + 1):
        sums = within + 2 * chosen + own
        distance = sums / count**2 - 2 * (towards + whole) / count
        best = int(np.argmin(np.where(left, distance, np.inf)))
        order.append(best)
        within, towards, left[best] = float(sums[best]), towards + float(whole[best]), False
        chosen += products[best]
    return np.array(order)


def _built(model: onnx.ModelProto, nodes: dict[int, onnx.NodeProto | None]) -> onnx.ModelProto | None:
    built = onnx.ModelProto()
    built.CopyFrom(model)
    for place, node in nodes.items():
        if node is None:
            return None
        built.graph.node[place].CopyFrom(node)
    return built
