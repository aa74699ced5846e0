"""What a converter's refusal means, and the way out: converters name their own insides, and a person needs to know what to change."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tools.modelctl.errors import first_line

__all__ = ["advise"]

_INSTEAD = {
    "BayesianGaussianMixture": "GaussianMixture converts",
    "Birch": "KMeans and MiniBatchKMeans convert",
    "ClassifierChain": "train a model for each label",
    "DummyClassifier": "any real classifier converts, LogisticRegression(C=1e-9) answers as it does",
    "DummyRegressor": "any real regressor converts, Ridge(alpha=1e12) answers as it does",
    "FactorAnalysis": "PCA and TruncatedSVD convert",
    "FastICA": "PCA and TruncatedSVD convert",
    "FeatureHasher": "OneHotEncoder(handle_unknown='ignore') converts",
    "HashingVectorizer": "TfidfVectorizer and CountVectorizer over words convert; max_features bounds them",
    "IsotonicRegression": "DecisionTreeRegressor and HistGradientBoostingRegressor(monotonic_cst=...) convert",
    "IterativeImputer": "SimpleImputer and KNNImputer convert",
    "KernelRidge": "SVR and GaussianProcessRegressor with the same kernel convert",
    "LabelPropagation": "train a classifier that converts on the labels that it spread",
    "LabelSpreading": "train a classifier that converts on the labels that it spread",
    "MiniBatchNMF": "PCA and TruncatedSVD convert",
    "NMF": "PCA and TruncatedSVD convert",
    "NearestCentroid": "KNeighborsClassifier and LinearDiscriminantAnalysis convert",
    "Nystroem": "SVC or GaussianProcessClassifier with the kernel itself convert",
    "RBFSampler": "SVC or GaussianProcessClassifier with the kernel itself convert",
    "RegressorChain": "MultiOutputRegressor converts",
    "SplineTransformer": "PolynomialFeatures and KBinsDiscretizer convert",
    "TransformedTargetRegressor": "transform y in load(), or use an estimator with a log link such as PoissonRegressor",
}
"""By the estimator of scikit-learn that has no converter."""

_PATTERNS: dict[str, tuple[tuple[str, str], ...]] = {
    "scikit-learn": (
        (
            r"implemented when the missing values are string",
            "SimpleImputer doesn't convert where a gap in text is NaN; write '' for it in load() and use SimpleImputer(missing_values='')",
        ),
        (
            r"only tokenizer='word' is fully supported",
            "n-grams of characters within words (char_wb) don't convert; use analyzer='word' or analyzer='char'",
        ),
        (
            r"only strip_accents=None is supported",
            "strip_accents doesn't convert; leave it out, and strip accents in load() and in the client alike",
        ),
        (
            r"FunctionTransformer is not supported",
            "a FunctionTransformer is Python code, which ONNX can't hold; compute the column in load() and in the client alike, "
            "or use PowerTransformer, PolynomialFeatures or KBinsDiscretizer",
        ),
        (
            r"flatten_transform==True is not implemented",
            "a VotingClassifier that votes hard has no probabilities and doesn't convert; use VotingClassifier(..., voting='soft')",
        ),
        (
            r"Option 'zipmap' not in .* for class '(?P<name>\w+)'",
            "{name} has no probabilities, which classification answers with; wrap it in CalibratedClassifierCV",
        ),
        (
            r"You need to specify target_opset=\{'ai\.onnx\.ml': 3\}",
            "it converts at ai.onnx.ml 3 and no newer; use target_opset={{'': 18, 'ai.onnx.ml': 3}}, which is modelctl's own",
        ),
        (
            r"Custom (?P<name>tokenizer|preprocessor|analyzer) cannot be converted",
            "one's own {name} is Python code, which ONNX can't hold; split words by token_pattern, "
            "or prepare the text in load() and in the client alike",
        ),
        (
            r"Operator '(?P<operator>\w+)' is black listed",
            "a GaussianProcessClassifier needs the operator {operator}, which no runtime has; use CalibratedClassifierCV(SVC())",
        ),
        (
            r"onehot encoding not supported",
            "KBinsDiscretizer doesn't convert where it answers sparse rows; use KBinsDiscretizer(..., encode='onehot-dense')",
        ),
        (
            r"add_indicator=True cannot be converted",
            "an imputer's add_indicator=True doesn't convert; add the columns that say where a gap is in load() and in the client alike, "
            "or use a HistGradientBoosting estimator, which takes NaN as it is",
        ),
        (
            r"Infrequent categories are not implemented",
            "infrequent categories don't convert; leave out min_frequency and max_categories, or join rare values in load()",
        ),
        (
            r"Unable to find a (?:shape calculator|converter) for (?:alias|type) '(?:<class ')?(?:[\w.]*\.)?(?P<name>\w+)",
            "{name} has no converter; {instead}",
        ),
    ),
    "torch": (
        (
            r"No ONNX function found for <OpOverload\(op='(?P<operator>[\w.:]+)'|"
            r"Exporting the operator '(?P<old>[\w.:]+)' to ONNX",
            "ONNX has nothing for the operator {operator}{old} of PyTorch; write that step with operators that convert, or leave it to the "
            "client as preprocessing",
        ),
        (
            r"DynamicOutputShapeException'?>?:? *'?(?P<operator>[\w.:]+)",
            "the shape of what {operator} answers depends on the rows' values, which a graph can't hold; "
            "use an operator whose shape follows from its inputs', such as torch.where instead of indexing by a mask",
        ),
        (
            r"Could not guard on data-dependent expression|GuardOnDataDependentSymNode",
            "forward() branches on the rows' values, as `if x.sum() > 0`, which a graph can't hold; compute both and choose by torch.where",
        ),
        (
            r"(?:specialized|Constraints violated|not all values of \w+ .* are valid)",
            "forward() fixes the number of rows, which a served model must not; take it from x.shape[0], or write -1 in reshape and view",
        ),
    ),
    "keras": (
        (
            r"Unsupported ops: Counter\(\{'(?P<operator>\w+)'|Tensorflow op \[.*: (?P<old>\w+)\] is not supported",
            "ONNX has nothing for the operator {operator}{old} of TensorFlow; write that layer with operators that convert, or leave it to "
            "the client as preprocessing",
        ),
    ),
    "xgboost": (
        (
            r"gbtree_model_param|gblinear",
            "booster='gblinear' has no trees and doesn't convert; scikit-learn's linear models do, or use booster='gbtree'",
        ),
        (
            r"Unexpected objective: (?P<name>[\w:]+)",
            "the objective {name} has no converter; binary:logistic, multi:softprob, reg:squarederror, count:poisson, reg:gamma and "
            "reg:tweedie convert",
        ),
    ),
    "lightgbm": (
        (
            r"LightGBM objective should be cleaned already not '(?P<name>\w+)'",
            "the objective {name} has no converter; binary, multiclass, regression, regression_l1, huber, quantile, poisson, gamma and "
            "tweedie convert",
        ),
    ),
    "": (
        (
            r"No Op registered for (?P<operator>\w+)|(?P<old>[\w.:]+)\(-?\d+\) is not a registered function/op",
            "ONNX has no operator {operator}{old}; write that step with operators that convert, or leave it to the client as preprocessing",
        ),
        (
            r"Failed to construct locale with name:(?P<name>[\w.-]+)",
            "text is split in the locale {name}, which AWS's image lacks; convert with options={{id(vectorizer): {{'locale': 'C.UTF-8'}}}}",
        ),
    ),
}
"""By framework: what a refusal says, and what to tell instead. The empty name holds for all of them."""


def advise(error: BaseException, framework: str) -> str:
    """What the error means and the way out, as one sentence without an end.

    `framework` is scikit-learn, torch, keras, xgboost or lightgbm. Errors that this one was raised from are read too; one that nobody
    knows is told as it is, by its class and first line.
    """
    texts = [f"{type(each).__name__}: {each}" for each in _chain(error)]
    for pattern, advice in (*_PATTERNS.get(framework, ()), *_PATTERNS[""]):
        for text in texts:
            if match := re.search(pattern, text, re.DOTALL):
                groups = {name: value or "" for name, value in match.groupdict().items()}
                return advice.format(**groups, instead=_instead(groups.get("name", "")))
    return f"{first_line(error, named=True)}; docs/models.md lists what converts"


def _instead(name: str) -> str:
    return _INSTEAD.get(name, "docs/models.md lists what converts")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
