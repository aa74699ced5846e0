"""Models of XGBoost and LightGBM answer in their graph as they do themselves, or are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.config import ModelConfig, ParityConfig
from tools.modelctl import convert, parity
from tools.modelctl.data import Split, tensors
from tools.modelctl.errors import BuildFailed
from tools.modelctl.frameworks import Context, adapt, boosting

xgboost = pytest.importorskip("xgboost", reason="the extra xgboost is not installed")
lightgbm = pytest.importorskip("lightgbm", reason="the extra lightgbm is not installed")
pytest.importorskip("onnxmltools", reason="the extras xgboost and lightgbm are not installed")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")

SMALL = {"n_estimators": 12, "max_depth": 3, "n_jobs": 1}
QUIET = {**SMALL, "verbose": -1}
EXACT = ParityConfig(tolerance=1e-6)
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(400, 5)).astype(np.float32)
TWO = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int)
THREE = TWO + (X[:, 3] > 0.5)
AMOUNT = np.exp(X[:, 0] / 2 + X[:, 1] * X[:, 2] / 4)
GAPS = np.where(RANDOM.random(X.shape) < 0.2, np.nan, X).astype(np.float32)


def context(task: str, X: Any, y: Any, folder: Path = Path()) -> Context:
    config = ModelConfig.model_validate({"name": "step", "task": task})
    return Context(config=config, rows=Split(X[:300], y[:300], X[300:], y[300:]), folder=folder)


def differs(trained: Any, given: Context, tmp_path: Path) -> float:
    """The largest difference on held-out rows; fails where a label or the declared outputs differ."""
    adapted = adapt(trained, given)
    task, rows = given.config.task, given.rows.held_out_X
    model = convert.convert("step", task, adapted, rows)
    assert [spec.shape[0] for spec in convert.signature(model)[1]] == [-1] * len(model.graph.output)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
    expected = parity.original(task, adapted, rows)
    found = parity.run(tmp_path / "model.onnx", tensors(rows))
    assert [found[name].dtype.kind for name in expected] == [expected[name].dtype.kind for name in expected]
    compared = parity.compare(expected, found, EXACT)
    assert compared.disagreement == 0
    return float(compared.largest_difference)


CLASSIFIERS = [
    (xgboost.XGBClassifier(**SMALL), TWO),
    (xgboost.XGBClassifier(**SMALL), THREE),
    (xgboost.XGBClassifier(objective="multi:softmax", **SMALL), THREE),
    (xgboost.XGBClassifier(base_score=0.2, **SMALL), TWO),
    (xgboost.XGBClassifier(num_parallel_tree=4, subsample=0.7, **SMALL), TWO),
    (lightgbm.LGBMClassifier(**QUIET), TWO),
    (lightgbm.LGBMClassifier(**QUIET), THREE),
    (lightgbm.LGBMClassifier(**QUIET), np.array(["no", "yes"], dtype=object)[TWO]),
    (lightgbm.LGBMClassifier(boosting_type="dart", **QUIET), TWO),
]
REGRESSORS = [
    *(
        xgboost.XGBRegressor(objective=objective, **SMALL)
        for objective in ("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:squaredlogerror")
    ),
    *(xgboost.XGBRegressor(objective=objective, **SMALL) for objective in ("count:poisson", "reg:gamma", "reg:tweedie")),
    xgboost.XGBRegressor(objective="reg:quantileerror", quantile_alpha=0.9, **SMALL),
    xgboost.XGBRegressor(base_score=3.0, **SMALL),
    *(
        lightgbm.LGBMRegressor(objective=objective, **QUIET)
        for objective in ("regression", "regression_l1", "huber", "quantile", "poisson", "gamma", "tweedie")
    ),
]


@pytest.mark.parametrize("rows", [X, GAPS], ids=["whole", "gaps"])
@pytest.mark.parametrize(("estimator", "y"), CLASSIFIERS)
def test_a_classifier_answers_as_it_does_itself(tmp_path: Path, estimator: Any, y: Any, rows: Any) -> None:
    given = context("classification", rows, y)
    assert differs(estimator.fit(given.rows.X, given.rows.y), given, tmp_path) < 1e-6


@pytest.mark.parametrize("rows", [X, GAPS], ids=["whole", "gaps"])
@pytest.mark.parametrize("estimator", REGRESSORS, ids=lambda each: f"{type(each).__name__}-{each.objective}")
def test_a_regressor_answers_as_it_does_itself(tmp_path: Path, estimator: Any, rows: Any) -> None:
    given = context("regression", rows, AMOUNT)
    assert differs(estimator.fit(given.rows.X, given.rows.y), given, tmp_path) < 2e-6


@pytest.mark.parametrize("kind", [xgboost.XGBClassifier, lightgbm.LGBMClassifier])
def test_gaps_that_training_never_saw_are_answered_the_same(tmp_path: Path, kind: Any) -> None:
    options = QUIET if kind is lightgbm.LGBMClassifier else SMALL
    trained = kind(**options).fit(X[:300], TWO[:300])
    assert differs(trained, context("classification", GAPS, TWO), tmp_path) < 1e-6


def early(library: Any) -> tuple[Any, int]:
    """Trained until three rounds were no better, and the rounds up to the best."""
    rows, labels = [X[:200], X[200:300]], [TWO[:200], TWO[200:300]]
    if library is xgboost:
        found = xgboost.XGBClassifier(n_estimators=200, learning_rate=0.6, n_jobs=1, early_stopping_rounds=3)
        found.fit(rows[0], labels[0], eval_set=[(rows[1], labels[1])], verbose=False)
        return found, found.best_iteration + 1
    found = lightgbm.LGBMClassifier(n_estimators=200, learning_rate=0.6, n_jobs=1, verbose=-1)
    found.fit(rows[0], labels[0], eval_set=[(rows[1], labels[1])], callbacks=[lightgbm.early_stopping(3, verbose=False)])
    return found, found.best_iteration_


@pytest.mark.parametrize("library", [xgboost, lightgbm])
def test_rounds_after_the_best_one_are_left_out(tmp_path: Path, library: Any) -> None:
    trained, best = early(library)
    given = context("classification", X, TWO)
    assert differs(trained, given, tmp_path) < 1e-6
    graph = convert.convert("step", "classification", adapt(trained, given), X).graph
    trees = {tree for node in graph.node for item in node.attribute if item.name == "nodes_treeids" for tree in item.ints}
    assert len(trees) == best


def saved(trained: Any, folder: Path, ending: str) -> Path:
    file = folder / f"model{ending}"
    (trained.booster_ if ending == ".txt" else trained.get_booster()).save_model(file)
    return file


@pytest.mark.parametrize("y", [TWO, THREE], ids=["two", "three"])
@pytest.mark.parametrize(
    ("ending", "estimator"),
    [
        (".json", xgboost.XGBClassifier(**SMALL)),
        (".ubj", xgboost.XGBClassifier(**SMALL)),
        (".txt", lightgbm.LGBMClassifier(**QUIET)),
    ],
)
def test_a_native_file_becomes_the_model_it_was(tmp_path: Path, ending: str, estimator: Any, y: Any) -> None:
    given = context("classification", X, y, tmp_path)
    booster = boosting.load(saved(estimator.fit(X, y), tmp_path, ending), given)
    assert type(booster).__name__ == "Booster"
    assert differs(booster, given, tmp_path) < 1e-6
    assert np.allclose(adapt(booster, given).answers(X)["probabilities"], estimator.predict_proba(X), atol=1e-6)


def test_a_booster_has_the_classes_of_the_rows_or_numbers(tmp_path: Path) -> None:
    booster = lightgbm.LGBMClassifier(**QUIET).fit(X, THREE).booster_
    named = np.array(["apple", "pear", "plum"], dtype=object)[THREE]
    assert adapt(booster, context("classification", X, named)).classes_ == ("apple", "pear", "plum")
    assert adapt(booster, context("classification", X, TWO)).classes_ == (0, 1, 2)
    assert differs(booster, context("classification", X, named), tmp_path) < 1e-6


def test_a_booster_of_amounts_answers_them(tmp_path: Path) -> None:
    given = context("regression", X, AMOUNT)
    for booster in (xgboost.XGBRegressor(**SMALL).fit(X, AMOUNT).get_booster(), lightgbm.LGBMRegressor(**QUIET).fit(X, AMOUNT).booster_):
        assert differs(booster, given, tmp_path) < 2e-6


@pytest.mark.parametrize("content", [b"", b"{}", b"no model", b"tree\n", b"tree\nversion=v4\nnum_class=1\n"])
def test_a_file_that_holds_no_model_is_said_to_hold_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.json").write_bytes(content)
    with pytest.raises(BuildFailed, match=r"model\.json is no model of XGBoost or LightGBM: .*; expected the \.json"):
        boosting.load(tmp_path / "model.json", context("classification", X, TWO))


def coded() -> pd.DataFrame:
    return pd.DataFrame({"kind": pd.Categorical(np.array(["a", "b", "c"])[THREE]), "size": X[:, 0]})


@pytest.mark.parametrize(
    ("estimator", "rows", "y", "told"),
    [
        (xgboost.XGBClassifier(objective="binary:hinge", **SMALL), X, TWO, "the objective binary:hinge .* train with one of binary:log"),
        (xgboost.XGBRegressor(objective="reg:logistic", **SMALL), X, TWO, "the objective reg:logistic"),
        (xgboost.XGBClassifier(rate_drop=0.5, **SMALL), X, TWO, "dropped out"),
        (xgboost.XGBRegressor(booster="gblinear", n_estimators=2, n_jobs=1), X, AMOUNT, "booster='gblinear'"),
        (xgboost.XGBRegressor(**SMALL), X, np.stack([AMOUNT, -AMOUNT], axis=1), "several targets"),
        (xgboost.XGBRegressor(missing=0.0, **SMALL), X, AMOUNT, r"missing=0\.0 .* mark gaps by NaN"),
        (xgboost.XGBClassifier(enable_categorical=True, **SMALL), coded(), TWO, "a categorical column .* OneHotEncoder"),
        (lightgbm.LGBMClassifier(**QUIET), coded(), THREE, "categorical column .* OneHotEncoder"),
        (lightgbm.LGBMClassifier(objective="multiclassova", **QUIET), X, THREE, "the objective multiclassova"),
        (lightgbm.LGBMClassifier(sigmoid=2.0, **QUIET), X, TWO, "the objective binary sigmoid:2"),
        (lightgbm.LGBMRegressor(reg_sqrt=True, **QUIET), X, AMOUNT, "the objective regression sqrt"),
        (lightgbm.LGBMRegressor(objective="cross_entropy", **QUIET), X, TWO, "the objective cross_entropy"),
        (lightgbm.LGBMRegressor(linear_tree=True, **QUIET), X, AMOUNT, "linear_tree=True"),
        (lightgbm.LGBMRegressor(zero_as_missing=True, **QUIET), X, AMOUNT, "zero_as_missing=True"),
        (lightgbm.LGBMRegressor(boosting_type="rf", bagging_freq=1, bagging_fraction=0.5, **QUIET), X, AMOUNT, "boosting_type='rf'"),
    ],
)
def test_what_would_be_converted_wrong_is_refused(estimator: Any, rows: Any, y: Any, told: str) -> None:
    """onnxmltools writes a graph of nearly all of these, with other answers."""
    trained = estimator.fit(rows, y)
    task = "classification" if hasattr(trained, "predict_proba") else "regression"
    with pytest.raises(BuildFailed, match=told):
        adapt(trained, context(task, rows, y))


def test_the_task_is_that_of_the_objective() -> None:
    trained = lightgbm.LGBMClassifier(**QUIET).fit(X, TWO)
    with pytest.raises(BuildFailed, match="one of classification by its objective; expected regression"):
        adapt(trained, context("regression", X, TWO))


def test_rows_that_it_does_not_take_are_told() -> None:
    trained = xgboost.XGBClassifier(**SMALL).fit(X, TWO)
    with pytest.raises(BuildFailed, match=r"takes 5 columns of numbers, load\(\) answers input \[4\]"):
        adapt(trained, context("classification", X[:, :4], TWO))


def test_the_names_of_columns_are_no_hindrance(tmp_path: Path) -> None:
    table = pd.DataFrame(X, columns=["height", "width", "depth", "weight", "age"])
    for estimator in (xgboost.XGBClassifier(**SMALL), lightgbm.LGBMClassifier(**QUIET)):
        assert differs(estimator.fit(table, TWO), context("classification", table, TWO), tmp_path) < 1e-6


@pytest.mark.parametrize(
    ("task", "estimator", "y"),
    [
        ("classification", xgboost.XGBClassifier(**SMALL), THREE),
        ("regression", xgboost.XGBRegressor(**SMALL), AMOUNT),
        ("classification", lightgbm.LGBMClassifier(**QUIET), THREE),
        ("regression", lightgbm.LGBMRegressor(**QUIET), AMOUNT),
    ],
)
def test_a_pipeline_of_scikit_learn_may_end_in_one(tmp_path: Path, task: str, estimator: Any, y: Any) -> None:
    trained = make_pipeline(StandardScaler(), estimator).fit(X[:300], y[:300])
    assert differs(trained, context(task, X, y), tmp_path) < 2e-6


def test_a_pipeline_is_refused_for_what_it_ends_in() -> None:
    trained = make_pipeline(StandardScaler(), lightgbm.LGBMRegressor(linear_tree=True, **QUIET)).fit(X, AMOUNT)
    with pytest.raises(BuildFailed, match="linear_tree=True"):
        convert.convert("step", "regression", trained, X)


def test_the_same_model_gives_the_same_bytes() -> None:
    for trained in (xgboost.XGBClassifier(**SMALL).fit(X, TWO), lightgbm.LGBMClassifier(**QUIET).fit(X, TWO)):
        first, second = (adapt(trained, context("classification", X, TWO)).to_onnx("step") for _ in range(2))
        assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
