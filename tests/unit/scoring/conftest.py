"""Fixtures of the tests of data sets."""

from __future__ import annotations

import pytest


@pytest.fixture
def work(tmp_path):
    return tmp_path / "work"
