"""Estimators and pipelines of scikit-learn: each kind that a person is likely to bring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn import ensemble, linear_model, naive_bayes, neighbors, svm, tree
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from models.config import ParityConfig
from tests.conversions import rows
from tests.conversions.case import Case

__all__ = ["CASES"]

SEED: dict[str, Any] = {"random_state": 0}
THRESHOLD = ParityConfig(disagreement=0.03, tolerance=1.0)
"""A row on a threshold goes to the other side once it is float32: few labels may differ, and a number by a whole step."""
STEP = ParityConfig(tolerance=0.05)
"""As above for an average over many trees, where one step is small."""
WIDE = ParityConfig(tolerance=2e-3)
"""Sums of large terms of both signs, which float32 rounds further."""
_DEFAULT = ParityConfig()


def _fit(make: Callable[[], Any]) -> Callable[[Any, Any], Any]:
    return lambda X, y: make().fit(X) if y is None else make().fit(X, y)


def _classifier(name: str, make: Callable[[], Any], data: Any = rows.wine, allowed: ParityConfig = _DEFAULT) -> Case:
    return Case(name=name, task="classification", rows=data, train=_fit(make), allowed=allowed)


def _regressor(name: str, make: Callable[[], Any], data: Any = rows.amounts, allowed: ParityConfig = _DEFAULT) -> Case:
    return Case(name=name, task="regression", rows=data, train=_fit(make), allowed=allowed)


def _clusters(name: str, make: Callable[[], Any]) -> Case:
    return Case(name=name, task="clustering", rows=rows.clusters, train=_fit(make))


def _logistic() -> Any:
    return linear_model.LogisticRegression(max_iter=2000)


def _columns(text: Any, numbers: Any = "passthrough") -> ColumnTransformer:
    return ColumnTransformer([("text", text, ["city", "plan"]), ("numbers", numbers, ["age", "income"])])


def _words(vectorizer: Any) -> Any:
    return make_pipeline(ColumnTransformer([("words", vectorizer, "text")]), _logistic())


LINEAR = (
    _classifier("LogisticRegression", lambda: make_pipeline(StandardScaler(), _logistic())),
    _classifier("LogisticRegression, two named classes", lambda: make_pipeline(StandardScaler(), _logistic()), rows.cancer),
    _classifier("SGDClassifier, log loss", lambda: make_pipeline(StandardScaler(), linear_model.SGDClassifier(loss="log_loss", **SEED))),
    _classifier("OneVsRestClassifier", lambda: make_pipeline(StandardScaler(), OneVsRestClassifier(_logistic()))),
    _classifier("CalibratedClassifierCV of RidgeClassifier", lambda: CalibratedClassifierCV(linear_model.RidgeClassifier())),
    _regressor("LinearRegression", linear_model.LinearRegression),
    _regressor("Ridge", linear_model.Ridge),
    _regressor("Lasso", lambda: linear_model.Lasso(alpha=0.1)),
    _regressor("ElasticNet", lambda: linear_model.ElasticNet(alpha=0.01)),
    _regressor("BayesianRidge", linear_model.BayesianRidge),
    _regressor("HuberRegressor", lambda: linear_model.HuberRegressor(max_iter=500)),
    _regressor("PoissonRegressor", linear_model.PoissonRegressor),
    _regressor("LinearRegression of three amounts", linear_model.LinearRegression, rows.several),
    _regressor("MultiOutputRegressor of Ridge", lambda: MultiOutputRegressor(linear_model.Ridge()), rows.several),
)
KERNELS = (
    _classifier("SVC, calibrated", lambda: make_pipeline(StandardScaler(), CalibratedClassifierCV(svm.SVC()))),
    _classifier("LinearSVC, calibrated", lambda: make_pipeline(StandardScaler(), CalibratedClassifierCV(svm.LinearSVC(**SEED)))),
    _regressor("SVR", lambda: svm.SVR(C=100)),
    _regressor("GaussianProcessRegressor", lambda: GaussianProcessRegressor(RBF() + WhiteKernel(), normalize_y=True), allowed=WIDE),
    _classifier("KNeighborsClassifier", lambda: make_pipeline(StandardScaler(), neighbors.KNeighborsClassifier())),
    _regressor("KNeighborsRegressor", neighbors.KNeighborsRegressor),
    _classifier("GaussianNB", naive_bayes.GaussianNB),
    _classifier("MultinomialNB", naive_bayes.MultinomialNB, rows.digits),
    _classifier("BernoulliNB", lambda: naive_bayes.BernoulliNB(binarize=0.5), rows.digits),
    _classifier("LinearDiscriminantAnalysis", LinearDiscriminantAnalysis),
    _classifier("QuadraticDiscriminantAnalysis", QuadraticDiscriminantAnalysis),
    _classifier("MLPClassifier", lambda: MLPClassifier(max_iter=60, **SEED), rows.digits),
    _regressor("MLPRegressor", lambda: make_pipeline(StandardScaler(), MLPRegressor(max_iter=100, **SEED))),
)
TREES = (
    _classifier("DecisionTreeClassifier", lambda: tree.DecisionTreeClassifier(**SEED), allowed=THRESHOLD),
    _classifier("RandomForestClassifier", lambda: ensemble.RandomForestClassifier(30, **SEED), rows.digits, THRESHOLD),
    _classifier("ExtraTreesClassifier", lambda: ensemble.ExtraTreesClassifier(30, **SEED), rows.digits, THRESHOLD),
    _classifier("GradientBoostingClassifier", lambda: ensemble.GradientBoostingClassifier(n_estimators=20, **SEED), allowed=THRESHOLD),
    _classifier(
        "HistGradientBoostingClassifier", lambda: ensemble.HistGradientBoostingClassifier(max_iter=20, **SEED), rows.gaps, THRESHOLD
    ),
    _classifier("AdaBoostClassifier", lambda: ensemble.AdaBoostClassifier(n_estimators=20, **SEED)),
    _classifier("BaggingClassifier", lambda: ensemble.BaggingClassifier(**SEED), allowed=THRESHOLD),
    _regressor("DecisionTreeRegressor", lambda: tree.DecisionTreeRegressor(max_depth=6, **SEED), allowed=THRESHOLD),
    _regressor("RandomForestRegressor", lambda: ensemble.RandomForestRegressor(30, **SEED), allowed=STEP),
    _regressor("GradientBoostingRegressor", lambda: ensemble.GradientBoostingRegressor(n_estimators=40, **SEED), allowed=STEP),
    _regressor("HistGradientBoostingRegressor", lambda: ensemble.HistGradientBoostingRegressor(max_iter=40, **SEED), allowed=STEP),
)
JOINED = (
    _classifier(
        "StackingClassifier",
        lambda: ensemble.StackingClassifier(
            [("bayes", naive_bayes.GaussianNB()), ("lda", LinearDiscriminantAnalysis())], _logistic(), cv=3
        ),
    ),
    _classifier(
        "VotingClassifier, soft and weighted",
        lambda: ensemble.VotingClassifier(
            [("bayes", naive_bayes.GaussianNB()), ("lda", LinearDiscriminantAnalysis())], voting="soft", weights=[1, 2]
        ),
    ),
    _regressor(
        "VotingRegressor", lambda: ensemble.VotingRegressor([("ridge", linear_model.Ridge()), ("lasso", linear_model.Lasso(alpha=0.1))])
    ),
    _clusters("KMeans", lambda: make_pipeline(StandardScaler(), KMeans(3, n_init=3, **SEED))),
    _clusters("MiniBatchKMeans", lambda: make_pipeline(StandardScaler(), MiniBatchKMeans(3, n_init=3, **SEED))),
)
PREPARED = (
    _classifier(
        "OneHotEncoder, StandardScaler", lambda: make_pipeline(_columns(OneHotEncoder(), StandardScaler()), _logistic()), rows.categories
    ),
    _classifier(
        "OrdinalEncoder, RandomForestClassifier",
        lambda: make_pipeline(_columns(OrdinalEncoder()), ensemble.RandomForestClassifier(20, **SEED)),
        rows.categories,
    ),
    _regressor("TargetEncoder, Ridge", lambda: make_pipeline(_columns(TargetEncoder(**SEED)), linear_model.Ridge()), rows.prices),
    _classifier(
        "SimpleImputer of text, OneHotEncoder",
        lambda: make_pipeline(
            _columns(make_pipeline(SimpleImputer(missing_values="", strategy="most_frequent"), OneHotEncoder()), MinMaxScaler()),
            _logistic(),
        ),
        rows.categories,
    ),
    _classifier("TfidfVectorizer", lambda: _words(TfidfVectorizer()), rows.texts),
    _classifier("TfidfVectorizer, words of one letter", lambda: _words(TfidfVectorizer(token_pattern=r"(?u)\b\w+\b")), rows.texts),
    _classifier("TfidfVectorizer, characters", lambda: _words(TfidfVectorizer(analyzer="char", ngram_range=(2, 3))), rows.texts),
    _classifier("CountVectorizer, pairs of words", lambda: _words(CountVectorizer(ngram_range=(1, 2))), rows.texts),
    _classifier("PCA", lambda: make_pipeline(StandardScaler(), PCA(5), _logistic())),
    _classifier("TruncatedSVD", lambda: make_pipeline(TruncatedSVD(16, **SEED), _logistic()), rows.digits),
    _regressor("PolynomialFeatures", lambda: make_pipeline(PolynomialFeatures(2), linear_model.Ridge())),
    _regressor(
        "KBinsDiscretizer",
        lambda: make_pipeline(KBinsDiscretizer(5, encode="onehot-dense", quantile_method="averaged_inverted_cdf"), linear_model.Ridge()),
        allowed=STEP,
    ),
    _classifier("SimpleImputer of numbers", lambda: make_pipeline(SimpleImputer(), StandardScaler(), _logistic()), rows.gaps),
    _classifier("KNNImputer", lambda: make_pipeline(KNNImputer(), StandardScaler(), _logistic()), rows.gaps, WIDE),
    _classifier("SelectKBest", lambda: make_pipeline(StandardScaler(), SelectKBest(k=6), _logistic())),
    _classifier("VarianceThreshold, RobustScaler", lambda: make_pipeline(VarianceThreshold(0.02), RobustScaler(), _logistic())),
    _classifier("PowerTransformer", lambda: make_pipeline(PowerTransformer(), _logistic())),
    _classifier("QuantileTransformer", lambda: make_pipeline(QuantileTransformer(n_quantiles=40), _logistic()), allowed=WIDE),
)
CASES = (*LINEAR, *KERNELS, *TREES, *JOINED, *PREPARED)
