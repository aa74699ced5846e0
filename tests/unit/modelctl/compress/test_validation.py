"""Rows set aside for a search: what they are scored by, and where they can't be."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from models.config import CompressConfig
from tests.unit.modelctl.compress.subjects import numbers, subject
from tools.modelctl.compress.subject import Inapplicable, Subject
from tools.modelctl.compress.validation import validation, within

X = numbers(80, 3)
SET_ASIDE = np.random.default_rng(0).permutation(80)[:20]


@pytest.fixture(scope="module")
def rare() -> Subject:
    """Of the class 2 no row is set aside."""
    y = (X[:, 0] > 0).astype(np.int64)
    y[np.setdiff1d(np.arange(80), SET_ASIDE)[:4]] = 2
    return subject("classification", LogisticRegression().fit(X, y), X, y)


def by(metric: str, one: Subject) -> Subject:
    return replace(one, config=one.config.model_copy(update={"compress": CompressConfig(metric=metric)}))


def test_a_class_that_is_not_among_them_is_known_all_the_same(rare: Subject) -> None:
    judge = validation(by("log_loss", rare))
    assert 2 not in judge.y
    assert np.isfinite(judge.parent)
    assert judge.holds(rare.model)


def test_a_metric_that_they_do_not_define_is_named(rare: Subject) -> None:
    with pytest.raises(Inapplicable, match="roc_auc is not defined for the 20 rows for training that were set aside"):
        validation(by("roc_auc", rare))


def test_float_noise_is_within_the_limit() -> None:
    assert within(0.98 - 0.97, 0.01)
    assert not within(0.0101, 0.01)
    assert not within(float("inf"), 0.01)
