"""What scikit-learn fits and ONNX can't hold, each with the way out that a person is told."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import ensemble, linear_model, naive_bayes, svm
from sklearn.cluster import Birch
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.impute import SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.multioutput import RegressorChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, OneHotEncoder, SplineTransformer

from tests.conversions import rows
from tests.conversions.case import Case

__all__ = ["CASES"]


def _case(name: str, task: str, data: Any, make: Any, refused: str) -> Case:
    def train(X: Any, y: Any) -> Any:
        return make().fit(X) if y is None else make().fit(X, y)

    return Case(name=name, task=task, rows=data, train=train, refused=refused)


def _logistic(*steps: Any) -> Any:
    return make_pipeline(*steps, linear_model.LogisticRegression(max_iter=500))


def _words(vectorizer: Any) -> Any:
    return _logistic(ColumnTransformer([("words", vectorizer, "text")]))


def _cities(encoder: Any) -> Any:
    return _logistic(ColumnTransformer([("city", encoder, ["city"])]))


def _one_column() -> rows.Rows:
    X, y = rows.amounts()
    return X[:, 2:3], y


def _two() -> rows.Rows:
    X, y = rows.cancer()
    return X[:200], (y[:200] == "benign").astype(int)


def _bins() -> Any:
    return KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf")


CASES = (
    _case(
        "SimpleImputer with indicators",
        "classification",
        rows.gaps,
        lambda: _logistic(SimpleImputer(add_indicator=True)),
        "add_indicator=True doesn't convert",
    ),
    _case("KBinsDiscretizer, sparse", "classification", rows.wine, lambda: _logistic(_bins()), "encode='onehot-dense'"),
    _case(
        "SimpleImputer of NaN in text",
        "classification",
        rows.categories,
        lambda: _cities(make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder())),
        "use SimpleImputer(missing_values='')",
    ),
    _case(
        "OneHotEncoder, infrequent categories",
        "classification",
        rows.categories,
        lambda: _cities(OneHotEncoder(min_frequency=130, handle_unknown="infrequent_if_exist")),
        "leave out min_frequency",
    ),
    _case("TfidfVectorizer, char_wb", "classification", rows.texts, lambda: _words(TfidfVectorizer(analyzer="char_wb")), "analyzer='char'"),
    _case(
        "TfidfVectorizer, strip_accents",
        "classification",
        rows.texts,
        lambda: _words(TfidfVectorizer(strip_accents="unicode")),
        "strip accents in",
    ),
    _case(
        "TfidfVectorizer, one's own analyzer",
        "classification",
        rows.texts,
        lambda: _words(TfidfVectorizer(analyzer=str.split)),
        "own analyzer is Python",
    ),
    _case(
        "TfidfVectorizer, one's own tokenizer",
        "classification",
        rows.texts,
        lambda: _words(TfidfVectorizer(tokenizer=str.split, token_pattern=None)),
        "own tokenizer is Python",
    ),
    _case(
        "HashingVectorizer",
        "classification",
        rows.texts,
        lambda: _words(HashingVectorizer(n_features=64)),
        "TfidfVectorizer and CountVectorizer",
    ),
    _case(
        "FunctionTransformer", "classification", rows.wine, lambda: _logistic(FunctionTransformer(np.log1p)), "compute the column in load()"
    ),
    _case(
        "SplineTransformer", "classification", rows.wine, lambda: _logistic(SplineTransformer()), "PolynomialFeatures and KBinsDiscretizer"
    ),
    _case(
        "VotingClassifier, hard",
        "classification",
        rows.wine,
        lambda: ensemble.VotingClassifier([("a", naive_bayes.GaussianNB()), ("b", naive_bayes.BernoulliNB())]),
        "voting='soft'",
    ),
    _case("LinearSVC, not calibrated", "classification", rows.wine, svm.LinearSVC, "wrap it in CalibratedClassifierCV"),
    _case("GaussianProcessClassifier", "classification", _two, GaussianProcessClassifier, "the operator Solve"),
    _case(
        "TransformedTargetRegressor",
        "regression",
        rows.amounts,
        lambda: TransformedTargetRegressor(linear_model.Ridge()),
        "transform y in load()",
    ),
    _case("RegressorChain", "regression", rows.several, lambda: RegressorChain(linear_model.Ridge()), "MultiOutputRegressor converts"),
    _case("IsotonicRegression", "regression", _one_column, IsotonicRegression, "DecisionTreeRegressor"),
    _case("Birch", "clustering", rows.clusters, Birch, "KMeans and MiniBatchKMeans"),
    _case("IsolationForest", "clustering", rows.clusters, lambda: ensemble.IsolationForest(n_estimators=10), "cluster with KMeans"),
)
