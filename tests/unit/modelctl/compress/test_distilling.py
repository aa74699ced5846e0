"""Students: the loss they learn by, and that each may take its teacher's place."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVR

from tests.unit.modelctl.compress.subjects import numbers, subject
from tools.modelctl import convert
from tools.modelctl.compress import distilling, perceptron, students
from tools.modelctl.compress.distilling import distill, distilled
from tools.modelctl.compress.ensemble import Ensemble
from tools.modelctl.compress.grafting import grafted, place
from tools.modelctl.compress.perceptron import softmax
from tools.modelctl.compress.probing import answers
from tools.modelctl.compress.students import Lesson
from tools.modelctl.compress.subject import Inapplicable
from tools.modelctl.data import tensors

X = numbers(240, 3)
Y = (X[:, 0] + X[:, 1] ** 2 > 0.5).astype(np.int64)
WORDS = np.array(["no", "yes"])[Y]
TABLE = pd.DataFrame({"size": X[:, 0], "weight": X[:, 1], "colour": np.array(["red", "blue"])[(X[:, 2] > 0).astype(int)]})


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lessons of a tenth of the time, and fewer sizes to choose from."""
    monkeypatch.setattr(perceptron, "_STEPS", 300)
    monkeypatch.setattr(distilling, "_SIZES", {"mlp": (students.network, (4, 16)), "tree": (students.tree, (4, 16))})


def lesson(*, alpha: float = 0.3, temperature: float = 2.0, rows: int = 40, seed: int = 0) -> Lesson:
    random = np.random.default_rng(seed)
    truth = np.eye(3, dtype=np.float32)[random.integers(0, 3, rows)]
    teacher = random.dirichlet([1, 1, 1], rows).astype(np.float32)
    features = random.normal(size=(rows, 2)).astype(np.float32)
    return Lesson(
        tensor="input", features=features, truth=truth, teacher=teacher, classes=np.arange(3), alpha=alpha, temperature=temperature
    )


def loss(logits: np.ndarray, one: Lesson) -> float:
    """alpha * CE(y, student) + (1 - alpha) * T^2 * KL(teacher_T || student_T), summed over rows."""
    soft = one.teacher.astype(np.float64) ** (1 / one.temperature)
    soft /= soft.sum(axis=1, keepdims=True)
    entropy = -np.sum(one.truth * np.log(softmax(logits)))
    divergence = np.sum(soft * (np.log(soft) - np.log(softmax(logits / one.temperature))))
    return float(one.alpha * entropy + (1 - one.alpha) * one.temperature**2 * divergence)


@settings(max_examples=30)
@given(st.floats(0, 1), st.floats(1, 8), st.integers(0, 1000))
def test_the_slope_is_the_derivative_of_the_loss(alpha: float, temperature: float, seed: int) -> None:
    one = lesson(alpha=alpha, temperature=temperature, rows=4, seed=seed)
    one = replace(one, teacher=np.clip(one.teacher.astype(np.float64), 1e-3, 1))
    logits = np.random.default_rng(seed).normal(size=(4, 3))
    found = students._to_classes(one)(np.arange(4), logits)
    expected = np.empty_like(logits)
    for at in np.ndindex(logits.shape):
        step = np.zeros_like(logits)
        step[at] = 1e-5
        expected[at] = (loss(logits + step, one) - loss(logits - step, one)) / 2e-5
    np.testing.assert_allclose(found, expected, atol=1e-4)


@given(st.floats(0, 1), st.integers(0, 1000))
def test_at_a_temperature_of_one_both_parts_ask_for_their_mixture(alpha: float, seed: int) -> None:
    """Which is what makes a tree's loss exact: it differs from the cross-entropy with the mixture by the same for every student."""
    one = lesson(alpha=alpha, temperature=1.0, rows=5, seed=seed)
    students_logits = np.random.default_rng(seed + 1).normal(size=(2, 5, 3))
    apart = [loss(logits, one) + np.sum(one.mixed * np.log(softmax(logits))) for logits in students_logits]
    assert apart[0] == pytest.approx(apart[1], abs=1e-3)


def test_gradients_of_the_network_are_those_of_its_loss() -> None:
    random = np.random.default_rng(0)
    features, wanted = random.normal(size=(6, 3)), random.normal(size=(6, 2))
    weights: list[perceptron.Matrix] = [random.normal(size=shape) for shape in ((3, 4), (4,), (4, 2), (2,))]

    def mean_loss() -> float:
        hidden, first, last, second = weights
        return float(np.sum((np.maximum(features @ hidden + first, 0) @ last + second - wanted) ** 2) / 6)

    found = perceptron._gradients(weights, features, np.arange(6), students._to_numbers(wanted))
    for weight, gradient in zip(weights, found, strict=True):
        for at in np.ndindex(weight.shape):
            weight[at] += 1e-6
            above = mean_loss()
            weight[at] -= 2e-6
            below = mean_loss()
            weight[at] += 1e-6
            assert gradient[at] == pytest.approx((above - below) / 2e-6, abs=1e-4)


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_a_leaf_answers_the_mean_of_what_its_rows_ask_for(alpha: float) -> None:
    one = lesson(alpha=alpha, rows=60)
    (node,), _ = students.tree(one, 6, 0)
    ensemble = Ensemble.of(node)
    leaves = ensemble.leaves(one.features)[:, 0]
    assert 2 <= len(np.unique(leaves)) <= 6
    for leaf in np.unique(leaves):
        assert np.sum(leaves == leaf) >= 5
        np.testing.assert_allclose(ensemble.outputs[leaf], one.mixed[leaves == leaf].mean(axis=0), atol=1e-5)


def as_its_teacher(found: ModelProto, whole: ModelProto, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A student's answers, of the kinds that its teacher's have."""
    assert convert.signature(found) == convert.signature(whole)
    expected, answered = answers(whole, rows), answers(found, rows)
    assert {name: (values.dtype, values.shape) for name, values in answered.items()} == {
        name: (values.dtype, values.shape) for name, values in expected.items()
    }
    if "probabilities" in answered:
        np.testing.assert_allclose(answered["probabilities"].sum(axis=1), 1, atol=1e-5)
    return answered


@pytest.mark.parametrize("y", [Y, WORDS], ids=["numbers", "words"])
@pytest.mark.parametrize("student", ["mlp", "tree"])
def test_a_student_of_text_and_numbers_takes_its_teachers_place(student: str, y: np.ndarray) -> None:
    columns = ColumnTransformer([("number", StandardScaler(), ["size", "weight"]), ("text", OneHotEncoder(), ["colour"])])
    teacher = make_pipeline(columns, RandomForestClassifier(20, random_state=0)).fit(TABLE, y)
    whole = subject("classification", teacher, TABLE, y, student=student)
    before = whole.model.SerializeToString()
    found = distill(whole)
    answered = as_its_teacher(found, whole.model, tensors(TABLE))
    assert np.mean(answered["label"].astype(str) == y.astype(str)) > 0.85
    assert found.ByteSize() < 0.5 * whole.model.ByteSize()
    assert whole.model.SerializeToString() == before
    assert distill(whole).SerializeToString() == found.SerializeToString()
    assert [node.op_type for node in found.graph.node if node.op_type == "OneHotEncoder"]


@pytest.mark.parametrize("student", ["mlp", "tree"])
def test_a_student_of_a_regression_answers_in_its_teachers_unit(student: str) -> None:
    y = 1000 * X[:, 0] + 5000
    teacher = GradientBoostingRegressor(n_estimators=60, random_state=0).fit(X * [100, 1, 1], y)
    whole = subject("regression", teacher, X * [100, 1, 1], y, student=student)
    prediction = as_its_teacher(distill(whole), whole.model, whole.calibration)["prediction"].ravel()
    assert np.corrcoef(prediction, y)[0, 1] > 0.95
    assert np.abs(prediction - y).mean() < 400


def test_alpha_of_one_learns_from_labels_and_of_none_from_the_teacher() -> None:
    """The teacher was taught the opposite."""
    teacher = GradientBoostingClassifier(n_estimators=20, random_state=0).fit(X, 1 - Y)
    whole = subject("classification", teacher, X, Y, student="tree")
    labels, taught = (answers(distilled(whole, alpha=alpha, temperature=1.0), whole.calibration)["label"] for alpha in (1.0, 0.0))
    assert np.mean(labels == Y) > 0.9
    assert np.mean(taught == 1 - Y) > 0.9


def test_rows_without_y_are_taught_by_the_teacher_alone() -> None:
    teacher = GradientBoostingClassifier(n_estimators=20, random_state=0).fit(X, Y)
    whole = subject("classification", teacher, X, None)
    assert np.mean(answers(distill(whole), whole.calibration)["label"] == Y) > 0.9


def image_net() -> tuple[ModelProto, np.ndarray, np.ndarray]:
    """A dense network on images [1, 8, 8]."""
    pixels, y = load_digits(return_X_y=True)
    pixels, y = (pixels[:300] / 16).astype(np.float32), y[:300]
    fitted = MLPClassifier((64,), learning_rate_init=0.01, tol=1e-2, n_iter_no_change=2, random_state=0).fit(pixels, y)
    model = convert.convert("net", "classification", fitted, pixels)
    model.graph.node.insert(0, helper.make_node("Flatten", ["image"], ["input"]))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", TensorProto.FLOAT, ["rows", 1, 8, 8]))
    first = model.graph.node[1]
    assert first.op_type == "Cast"
    return model, pixels.reshape(-1, 1, 8, 8), y


@pytest.fixture(scope="module")
def images() -> tuple[ModelProto, np.ndarray, np.ndarray]:
    return image_net()


def test_a_student_of_flattened_images_takes_its_teachers_place(images: tuple[ModelProto, np.ndarray, np.ndarray]) -> None:
    model, pixels, y = images
    whole = subject("classification", model, {"image": pixels}, y)
    answered = as_its_teacher(distill(whole), whole.model, whole.calibration)
    assert np.mean(answered["label"] == y) > 0.8


def test_a_student_of_an_image_itself_flattens_it(images: tuple[ModelProto, np.ndarray, np.ndarray]) -> None:
    """Where the first layer is a convolution."""
    one = replace(lesson(), tensor="image", features=numbers(40, 64).reshape(40, 1, 8, 8))
    nodes, constants = students.network(one, 4, 0)
    made = grafted(images[0], nodes, constants)
    assert answers(made, {"image": one.features})["probabilities"].shape == (40, 3)


def test_of_networks_and_trees_the_one_that_learns_it_is_taken() -> None:
    """A step is for a tree, and a slope for a network."""
    step, slope = (X[:, 0] > 0).astype(float), X[:, 0] + X[:, 1]
    kinds = []
    for y in (step, slope):
        teacher = GradientBoostingRegressor(n_estimators=60, random_state=0).fit(X, y)
        kinds.append({node.op_type for node in distill(subject("regression", teacher, X, y)).graph.node})
    assert kinds == [{"TreeEnsembleRegressor"}, {"Gemm", "Relu"}]


def test_an_estimator_of_another_kind_is_replaced_too() -> None:
    whole = subject("regression", make_pipeline(StandardScaler(), SVR()).fit(X, X[:, 0]), X, X[:, 0])
    assert {node.op_type for node in distill(whole).graph.node} == {"Scaler", "Gemm", "Relu"}
    assert place(whole.model) != "input"


def test_a_class_the_teacher_never_answers_cannot_be_taught() -> None:
    teacher = RandomForestClassifier(5, random_state=0).fit(X, Y)
    with pytest.raises(Inapplicable, match="every class"):
        distill(subject("classification", teacher, X[:1].repeat(8, axis=0), Y[:1].repeat(8)))


def test_a_teacher_as_small_as_a_student_needs_none() -> None:
    teacher = LogisticRegression().fit(X, Y)
    with pytest.raises(Inapplicable, match="bytes"):
        distill(subject("classification", teacher, X, Y, student="mlp"))


def test_gaps_cannot_be_learned_from() -> None:
    teacher = RandomForestClassifier(20, random_state=0).fit(X, Y)
    with pytest.raises(Inapplicable, match="without gaps"):
        distill(subject("classification", teacher, np.where(X > 2, np.nan, X), Y))


def test_a_graph_of_its_own_answers_is_no_teacher() -> None:
    whole = subject("regression", SVR().fit(X, X[:, 0]), X, X[:, 0])
    with pytest.raises(Inapplicable, match="label and probabilities"):
        distill(replace(whole, config=whole.config.model_copy(update={"task": "custom"})))


def test_there_are_two_kinds_of_students() -> None:
    teacher = RandomForestClassifier(20, random_state=0).fit(X, Y)
    with pytest.raises(Inapplicable, match="mlp, tree"):
        distill(subject("classification", teacher, X, Y, student="forest"))


@pytest.mark.parametrize("kind", [np.float64, np.bool_, np.int32])
def test_classes_are_the_same_in_whatever_type_load_answers_them(kind: type) -> None:
    """1.0 and True are the 1 that the graph answers."""
    y = np.array([0, 1, 1])
    assert distilling._truth(y.astype(kind), np.array([0, 1])).tolist() == [[1, 0], [0, 1], [0, 1]]


def test_classes_that_the_model_does_not_answer_are_named() -> None:
    with pytest.raises(Inapplicable, match="y has the classes high, and the model answers 0, 1"):
        distilling._truth(np.array(["0", "high"]), np.array([0, 1]))
