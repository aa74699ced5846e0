"""Trains a small model on the answers of a large one, for the same rows: the student is a drop-in version of its teacher.

The teacher's probabilities say more than a label: how like a 7 this 1 looks. See `students` for the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto
from threadpoolctl import threadpool_limits

from models.config import ModelConfig
from tools.modelctl.compress import grafting, students
from tools.modelctl.compress.probing import answers, inner
from tools.modelctl.compress.students import Graph, Lesson
from tools.modelctl.compress.subject import Inapplicable, Subject
from tools.modelctl.compress.validation import Validation, validation
from tools.modelctl.convert import OUTPUTS
from tools.modelctl.parity import Answers

__all__ = ["ALPHA", "TEMPERATURE", "distill"]

ALPHA = 0.3
"""How much of the loss is about labels; the rest is about the teacher's answers."""
TEMPERATURE = 2.0
"""What a network's logits are divided by where it learns from the teacher; a tree has none, and learns at 1."""
_CAUTION = 0.5
"""Of the limit, between students: the best of them is a little worse than its teacher too."""
_SIZES: dict[str, tuple[Callable[[Lesson, int, int], Graph], tuple[int, ...]]] = {
    "mlp": (students.network, (8, 16, 32, 64)),
    "tree": (students.tree, (8, 16, 32, 64, 128, 256)),
}
"""By kind of student, what trains it, and its sizes: neurons, or leaves."""
_ELEMENTS = {"label": {TensorProto.INT64, TensorProto.STRING}, "probabilities": {TensorProto.FLOAT}, "prediction": {TensorProto.FLOAT}}


def distill(subject: Subject) -> onnx.ModelProto:
    """The smallest student that is within half of [compress] max_drop of the best one, on rows that none of them learned from.

    It takes the teacher's inputs through the teacher's own preprocessing, and answers its outputs. Networks and trees compete, unless the
    subject says which it is to be. Raises `Inapplicable`.
    """
    return distilled(subject, alpha=ALPHA, temperature=TEMPERATURE)


def distilled(subject: Subject, *, alpha: float, temperature: float) -> onnx.ModelProto:
    """As `distill`, with a loss of these parts: an `alpha` of 1 is no distillation."""
    _expect_answers(subject.config, subject.model)
    if subject.student and subject.student not in _SIZES:
        raise Inapplicable(f"there is no student {subject.student!r}; expected one of {', '.join(_SIZES)}")
    with threadpool_limits(1):
        judge = validation(subject)
        lesson = _lesson(subject, alpha, temperature)
        if subject.student == "tree" and lesson.features.ndim != 2:
            raise Inapplicable(
                f"a tree needs rows of numbers, and {lesson.tensor} has the shape {lesson.features.shape}; use --student mlp"
            )
        kinds = [subject.student] if subject.student else [kind for kind in _SIZES if kind == "mlp" or lesson.features.ndim == 2]
        kind, size = _best(subject, kinds, lesson, judge)
        subject.tell(f"a student of {size} {'neurons' if kind == 'mlp' else 'leaves'} learns from {len(lesson.features)} rows")
        return _student(subject, kind, lesson, size)


def _expect_answers(config: ModelConfig, model: onnx.ModelProto) -> None:
    found = {output.name: output.type.tensor_type.elem_type for output in model.graph.output}
    wanted = OUTPUTS.get(config.task, ())
    if (
        config.task not in {"classification", "regression"}
        or tuple(found) != wanted
        or any(found[name] not in _ELEMENTS[name] for name in wanted)
    ):
        raise Inapplicable(
            f"distillation needs a classifier with label and probabilities, or a regression with one prediction; {config.name} answers "
            f"{', '.join(found)}. `optimize` and `dynamic-int8` take any graph"
        )


def _lesson(subject: Subject, alpha: float, temperature: float) -> Lesson:
    rows = subject.calibration
    tensor = grafting.place(subject.model)
    features = inner(subject.model, [tensor], rows)[tensor]
    found = answers(subject.model, rows)
    teacher = found[OUTPUTS[subject.config.task][-1]]
    if features.dtype != np.float32 or len(features) != len(teacher) or teacher.ndim != 2 or not np.isfinite(features).all():
        raise Inapplicable(
            f"distillation needs FP32 features without gaps, a row of them for each row; {tensor} has others. Use `optimize`"
        )
    known = subject.rows.y is not None
    if subject.config.task == "regression":
        if teacher.shape[1] != 1:
            raise Inapplicable(f"distillation needs one prediction a row, and there are {teacher.shape[1]}; use `optimize` or `prune`")
        classes, truth = None, np.asarray(subject.rows.y, dtype=np.float64).reshape(-1, 1) if known else teacher
    else:
        classes = _classes(found, teacher)
        truth = _truth(np.ravel(subject.rows.y if known else found["label"]), classes)
    return Lesson(
        tensor=tensor,
        features=features,
        truth=truth,
        teacher=teacher,
        classes=classes,
        alpha=alpha if known else 0.0,
        temperature=temperature,
    )


def _classes(found: Answers, teacher: NDArray[np.float32]) -> NDArray[np.generic]:
    """What the teacher calls each column, as it called the rows of which that column was the largest."""
    places, labels = np.argmax(teacher, axis=1), found["label"]
    named = [np.unique(labels[places == column].astype(str), return_counts=True) for column in range(teacher.shape[1])]
    if any(len(names) == 0 for names, _ in named):
        raise Inapplicable(
            "distillation needs rows of every class that the teacher knows, and some class is never its answer; add such rows"
        )
    most = [str(names[np.argmax(counts)]) for names, counts in named]
    classes: NDArray[np.generic] = np.array(most, dtype=object if labels.dtype == object else labels.dtype)
    return classes


def _truth(y: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.float32]:
    """[rows, classes], 1 where it is that class: numbers as numbers, whatever type train.py has them in. Raises `Inapplicable`."""
    numbers = all(values.dtype.kind in "biuf" for values in (y, classes))
    mine, theirs = (values.astype(np.float64 if numbers else np.str_) for values in (y, classes))
    truth: NDArray[np.float32] = np.equal(mine[:, np.newaxis], theirs).astype(np.float32)
    if (truth.sum(axis=1) != 1).any():
        shown = [", ".join(map(str, np.unique(values)[:5])) for values in (mine[truth.sum(axis=1) != 1], theirs)]
        raise Inapplicable(
            f"y has the classes {shown[0]}, and the model answers {shown[1]}; expected load() to name classes as the model does"
        )
    return truth


def _best(subject: Subject, kinds: list[str], lesson: Lesson, judge: Validation) -> tuple[str, int]:
    """Kind and size of the student. Raises `Inapplicable` where even the smallest is larger than its teacher."""
    part = lesson.of(judge.fit)
    graphs = {(kind, size): _student(subject, kind, part, size) for kind in kinds for size in _SIZES[kind][1]}
    bytes_of = {student: graph.ByteSize() for student, graph in graphs.items()}
    scores = {student: judge.score(graph) for student, graph in graphs.items() if bytes_of[student] < subject.model.ByteSize()}
    if not scores:
        raise Inapplicable(
            f"the smallest student has {min(bytes_of.values()):,} bytes, and {subject.config.name} {subject.model.ByteSize():,}; "
            "it is as small as a student would be, `optimize` or `fp16` may still help"
        )
    enough = max(scores.values()) - _CAUTION * subject.config.compress.max_drop
    return min((student for student, score in scores.items() if score >= enough), key=bytes_of.__getitem__)


def _student(subject: Subject, kind: str, lesson: Lesson, size: int) -> onnx.ModelProto:
    nodes, constants = _SIZES[kind][0](lesson, size, subject.seed)
    return grafting.grafted(subject.model, nodes, constants)
