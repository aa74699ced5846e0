"""Pickles that would run something, and pickles of estimators."""

import copyreg
import functools
import operator
import os
import pickle
import re
import subprocess
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn.datasets
import sklearn.tree
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.utils._testing import TempMemmap

from tools.modelctl.errors import BuildFailed
from tools.modelctl.frameworks import allowed

X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.where(X[:, 0] > 0, "up", "down")
TABLE = pd.DataFrame({"size": X[:, 0], "kind": ["new", "old"] * 20, "text": ["one word", "two words"] * 20})


class Calls:
    """Is pickled as a call."""

    def __init__(self, called: Any, *arguments: Any) -> None:
        self.call = called, arguments

    def __reduce__(self) -> Any:
        return self.call


def refusal(file: Path) -> str:
    with pytest.raises(BuildFailed) as refused:
        allowed.load(file)
    return str(refused.value)


@pytest.mark.parametrize(
    ("called", "arguments", "name"),
    [
        (os.system, ("touch {mark}",), "posix.system"),
        (eval, ("open({mark!r}, 'w')",), "builtins.eval"),
        (exec, ("open({mark!r}, 'w')",), "builtins.exec"),
        (open, ("{mark}", "w"), "_io.open"),
        (__import__, ("os",), "builtins.__import__"),
        (getattr, (LogisticRegression(), "fit"), "builtins.getattr"),
        (type, ("Made", (), {}), "builtins.type"),
        (subprocess.Popen, (["touch", "{mark}"],), "subprocess.Popen"),
        (functools.partial, (print, "{mark}"), "functools.partial"),
        (operator.attrgetter, ("__globals__",), "operator.attrgetter"),
        (copyreg.add_extension, ("os", "system", 7), "copyreg.add_extension"),
        (np.save, ("{mark}", X), "numpy.save"),
        (np.load, ("{mark}",), "numpy.load"),
        (joblib.load, ("{mark}",), "joblib.numpy_pickle.load"),
        (sklearn.tree.export_graphviz, (sklearn.tree.DecisionTreeClassifier(), "{mark}"), "sklearn.tree._export.export_graphviz"),
        (sklearn.datasets.load_svmlight_file, ("{mark}",), "load_svmlight_file"),
        (TempMemmap, (X,), "sklearn.utils._testing.TempMemmap"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
@pytest.mark.parametrize("within", ["as it is", "in an array", "compressed"])
def test_what_is_not_on_the_list_is_named_and_not_called(tmp_path: Path, within: str, called: Any, arguments: Any, name: str) -> None:
    mark = tmp_path / "mark"
    call = Calls(called, *(each.format(mark=str(mark)) if isinstance(each, str) else each for each in arguments))
    file = tmp_path / "model"
    if within == "as it is":
        file.write_bytes(pickle.dumps({"model": LogisticRegression(), "call": [call]}))
    elif within == "in an array":
        joblib.dump(np.array([LogisticRegression(), call], dtype=object), file)
    else:
        joblib.dump(call, file, compress=("xz", 1))
    assert name in refusal(file)
    assert not mark.exists()


def crafted(*steps: bytes) -> bytes:
    return b"\x80\x04" + b"".join(steps) + b"."


def named(module: str, name: str) -> bytes:
    return b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name)) + b"\x93"


KERNEL = named("sklearn.gaussian_process.kernels", "RBF") + b")R"  # an instance that may be called
LOGISTIC = named("sklearn.linear_model._logistic", "LogisticRegression")


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ((named("sklearn.linear_model._base", "np.savetxt"),), "names sklearn.linear_model._base.np.savetxt"),
        ((named("sklearn.linear_model._base", "sparse"),), "is no class of scikit-learn's own"),
        ((named("sklearn.ensemble._gb", "Integral"),), "is no class of scikit-learn's own"),
        ((named("sklearn.tree.tests.test_tree", "assert_tree_equal"),), "names sklearn.tree.tests.test_tree"),
        ((KERNEL, b")R"), "calls an instance of sklearn.gaussian_process.kernels.RBF"),
        ((LOGISTIC, b"N}\x8c\x07predict", KERNEL, b"s\x86b"), "changes sklearn.linear_model._logistic.LogisticRegression"),
        ((LOGISTIC, b")R}\x8c\x0c__setstate__", KERNEL, b"sb"), "changes a method of an instance"),
        ((LOGISTIC, b")R", KERNEL, b"a"), "puts items into an instance of"),
        ((LOGISTIC, b")R(", KERNEL, b"e"), "puts items into an instance of"),
        ((LOGISTIC, b")RK\x01", KERNEL, b"s"), "puts items into an instance of"),
        ((b"(", LOGISTIC, b"o"), "has an instruction that Python 3 doesn't write"),
        ((b"\x82\x01",), "has an instruction that Python 3 doesn't write"),
        ((named("_codecs", "encode"), b"\x8c\x01x\x8c\x03hex\x86R"), "writes bytes in another encoding"),
        ((named("joblib.numpy_pickle", "NDArrayWrapper"),), "names joblib.numpy_pickle.NDArrayWrapper"),
    ],
)
def test_what_is_on_the_list_can_not_be_turned_into_something_else(tmp_path: Path, steps: tuple[bytes, ...], told: str) -> None:
    file = tmp_path / "model.pkl"
    file.write_bytes(crafted(*steps))
    assert told in refusal(file)


def test_objects_in_an_array_are_read_by_the_same_rules(tmp_path: Path) -> None:
    joblib.dump(np.array([Calls(RBF(), X)], dtype=object), tmp_path / "model")
    assert "calls an instance of sklearn.gaussian_process.kernels.RBF" in refusal(tmp_path / "model")


@pytest.mark.parametrize(
    "estimator",
    [
        *(GradientBoostingClassifier(n_estimators=2), HistGradientBoostingClassifier(max_iter=2), RandomForestClassifier(n_estimators=2)),
        *(KNeighborsClassifier(), SGDClassifier(loss="log_loss"), SVC(), KMeans(2, n_init=1)),
        make_pipeline(SelectKBest(k=2), StandardScaler(), LogisticRegression(random_state=np.random.RandomState(1))),
        GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=2),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
@pytest.mark.parametrize("how", ["protocol 0", "compressed"])
def test_an_estimator_answers_as_it_did(tmp_path: Path, estimator: Any, how: str) -> None:
    if not hasattr(estimator, "n_features_in_"):
        estimator.fit(X, Y)
    file = tmp_path / "model"
    if how.startswith("p"):
        file.write_bytes(pickle.dumps(estimator, protocol=0 if how == "protocol 0" else pickle.HIGHEST_PROTOCOL))
    else:
        joblib.dump(estimator, file, compress=3 if how == "compressed" else 0)
    assert np.array_equal(allowed.load(file).predict(X), estimator.predict(X))


def test_a_pipeline_on_a_table_answers_as_it_did(tmp_path: Path) -> None:
    columns = make_column_transformer((TfidfVectorizer(), "text"), (OneHotEncoder(), ["kind"]), ("passthrough", ["size"]))
    fitted = make_pipeline(columns, LogisticRegression()).fit(TABLE, Y)
    joblib.dump(fitted, tmp_path / "model")
    assert np.array_equal(allowed.load(tmp_path / "model").predict_proba(TABLE), fitted.predict_proba(TABLE))


def test_a_search_with_a_scorer_of_its_own_is_refused_with_what_to_save(tmp_path: Path) -> None:
    file = tmp_path / "model.pkl"
    file.write_bytes(crafted(named("sklearn.metrics._scorer", "_Scorer")))
    assert "joblib.dump(search.best_estimator_, file)" in refusal(file)


@pytest.mark.parametrize("kept", [0, 1, 40, 400, -1])
def test_a_pickle_that_is_cut_short_is_said_to_be(tmp_path: Path, kept: int) -> None:
    file = tmp_path / "model.joblib"
    joblib.dump(LogisticRegression().fit(X, Y), file)
    file.write_bytes(file.read_bytes()[:kept])
    assert re.search(r"model.joblib is no whole pickle: \w+(: \S.*)?; it is cut short", refusal(file))
