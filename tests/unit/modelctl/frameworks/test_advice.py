"""What converters say, as they say it in the versions of the lock, and what a person is told instead."""

import onnx
import pytest
from onnx import TensorProto, helper

from tools.modelctl.frameworks.advice import advise

MISSING = (
    "Unable to find a shape calculator for type '<class 'sklearn.feature_extraction.text.HashingVectorizer'>'.\n"
    "It usually means the pipeline being converted contains a transformer"
)
DISPATCH = (
    "No ONNX function found for <OpOverload(op='prims.bessel_j0', overload='default')>. "
    "Failure message: No decompositions registered for the real-valued input"
)


@pytest.mark.parametrize(
    ("framework", "text", "told"),
    [
        ("scikit-learn", "The converter is implemented when the missing values are string not <class 'float'>.", "missing_values=''"),
        ("scikit-learn", "CountVectorizer cannot be converted, only tokenizer='word' is fully supported.", "char_wb"),
        ("scikit-learn", "CountVectorizer cannot be converted, only strip_accents=None is supported.", "strip accents in load()"),
        ("scikit-learn", "FunctionTransformer is not supported unless the transform function is None", "compute the column in load()"),
        ("scikit-learn", "flatten_transform==True is not implemented yet.", "voting='soft'"),
        ("scikit-learn", "Option 'zipmap' not in ['nocl'] for class 'LinearSVC'.", "LinearSVC has no probabilities"),
        ("scikit-learn", "version 4 ... You need to specify target_opset={'ai.onnx.ml': 3}.", "{'': 18, 'ai.onnx.ml': 3}"),
        ("scikit-learn", MISSING, "HashingVectorizer has no converter; TfidfVectorizer"),
        ("scikit-learn", MISSING.replace("Hashing", "Novel"), "NovelVectorizer has no converter; docs/models.md"),
        ("scikit-learn", "Custom tokenizer cannot be converted into ONNX.", "one's own tokenizer is Python code"),
        ("scikit-learn", "Operator 'Solve' is black listed.", "the operator Solve"),
        ("torch", DISPATCH, "the operator prims.bessel_j0 of PyTorch"),
        (
            "torch",
            "Exporting the operator 'aten::special_i0' to ONNX opset version 18 is not supported",
            "the operator aten::special_i0 of",
        ),
        ("torch", "Could not guard on data-dependent expression Eq(u0, 1)", "torch.where"),
        ("keras", "Unsupported ops: Counter({'BesselI0': 1})", "the operator BesselI0 of TensorFlow"),
        ("keras", "Tensorflow op [i0/BesselI0: BesselI0] is not supported", "the operator BesselI0 of TensorFlow"),
        ("xgboost", "Unexpected objective: binary:logitraw", "the objective binary:logitraw has no converter"),
        ("lightgbm", "LightGBM objective should be cleaned already not 'cross_entropy'.", "the objective cross_entropy has no converter"),
        ("torch", "Failed to construct locale with name:en_US.UTF-8:locale", "the locale en_US.UTF-8, which"),
        ("scikit-learn", "Fatal error: com.microsoft:Solve(-1) is not a registered function/op", "no operator com.microsoft:Solve"),
    ],
)
def test_what_a_converter_says_becomes_what_to_do(framework: str, text: str, told: str) -> None:
    assert told in advise(RuntimeError(text), framework)


def test_the_cause_tells_what_the_error_around_it_does_not() -> None:
    outer = RuntimeError("Failed to convert the exported program")
    outer.__cause__ = ValueError(DISPATCH)
    assert "prims.bessel_j0" in advise(outer, "torch")


def test_onnx_names_the_operator_that_it_lacks() -> None:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("BesselI0", ["x"], ["y"])], "g", value[:1], value[1:])
    with pytest.raises(onnx.checker.ValidationError) as refused:
        onnx.checker.check_model(helper.make_model(graph))
    assert advise(refused.value, "keras").startswith("ONNX has no operator BesselI0;")


def test_what_nobody_knows_is_told_by_its_class_and_first_line() -> None:
    assert advise(KeyError(), "torch") == "KeyError: no reason given; docs/models.md lists what converts"
    assert advise(ValueError("odd\nand long"), "xgboost") == "ValueError: odd; docs/models.md lists what converts"


def test_one_framework_s_words_are_not_another_s() -> None:
    assert "no converter" not in advise(RuntimeError("Unexpected objective: binary:logitraw"), "lightgbm")
