"""A sample of the matrix that `make conversions` prints in full, and that the matrix sees what is wrong."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.conversions.__main__ import app
from tests.conversions.case import Case, run
from tests.conversions.matrix import CONVERTED, REFUSED

SAMPLE = (
    "GaussianNB",
    "LinearRegression of three amounts",
    "DecisionTreeClassifier",
    "VotingClassifier, soft and weighted",
    "FunctionTransformer",
)


def named(name: str) -> Case:
    (found,) = (case for case in (*CONVERTED, *REFUSED) if case.name == name)
    return found


@pytest.mark.parametrize("name", SAMPLE)
def test_a_model_is_converted_or_refused_as_the_matrix_says(tmp_path: Path, name: str) -> None:
    outcome = run(named(name), tmp_path)
    assert outcome.expected, outcome.problem


def test_the_matrix_has_as_many_models_as_it_promises() -> None:
    names = [case.name for case in (*CONVERTED, *REFUSED)]
    assert len(set(names)) == len(names)
    by = {needs: sum(case.needs == needs for case in CONVERTED) for needs in ("", "torch", "keras", "xgboost", "lightgbm")}
    assert by[""] >= 25
    assert by["torch"] >= 3
    assert min(by.values()) >= 2


def test_a_graph_that_differs_is_no_success(tmp_path: Path) -> None:
    case = named("LinearRegression of three amounts")

    def train(X, y):
        trained = case.train(X, y)
        predict = trained.predict
        trained.predict = lambda rows: predict(rows) + 1e-2
        return trained

    outcome = run(dataclasses.replace(case, train=train), tmp_path)
    assert (outcome.expected, outcome.verdict) == (False, "differs")


def test_what_converts_after_all_is_no_known_failure(tmp_path: Path) -> None:
    outcome = run(dataclasses.replace(named("GaussianNB"), refused="no such advice"), tmp_path)
    assert (outcome.expected, outcome.verdict) == (False, "not refused as expected")


def test_other_advice_than_the_known_is_wrong(tmp_path: Path) -> None:
    assert not run(dataclasses.replace(named("FunctionTransformer"), refused="use a SplineTransformer"), tmp_path).expected


def test_what_a_program_reads_is_what_a_person_sees() -> None:
    result = CliRunner().invoke(app, ["--only", "GaussianNB", "--json"])
    assert result.exit_code == 0
    (found,) = json.loads(result.stdout)["models"]
    assert (found["model"], found["verdict"], found["rows"], found["disagreement"]) == ("GaussianNB", "same", 45, 0)
    assert found["converter"].startswith("skl2onnx ")
    assert np.isfinite(found["largest_difference"])


def test_nothing_chosen_is_no_success() -> None:
    assert CliRunner().invoke(app, ["--only", "no such model"]).exit_code == 1
