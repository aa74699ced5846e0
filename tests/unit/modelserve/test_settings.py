"""Both sides of a function's environment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelserve.settings import CatalogSettings, PredictSettings, SettingsError

names = st.text("abcdefghij_0123456789", min_size=1, max_size=9)
times = st.floats(0, 1e6)


@given(st.builds(PredictSettings, model_name=names, model_bucket=names, alias_check_seconds=times, max_loaded_versions=st.integers(0, 99)))
def test_what_the_stacks_write_the_function_reads(settings):
    assert PredictSettings.from_env(settings.to_env()) == settings


@given(st.builds(CatalogSettings, model_names=st.lists(names, max_size=4).map(tuple), model_bucket=names))
def test_names_come_back_in_their_order(settings):
    assert CatalogSettings.from_env(settings.to_env()) == settings


def test_variables_are_the_fields_in_capitals_and_text():
    environ = PredictSettings(model_name="fruit", model_bucket="b", deadline_seconds=27).to_env()

    assert (environ["MODEL_NAME"], environ["DEADLINE_SECONDS"]) == ("fruit", "27")
    assert all(type(value) is str for value in environ.values())


def test_what_is_not_set_has_its_default_and_other_variables_are_passed_over():
    found = PredictSettings.from_env({"MODEL_NAME": "fruit", "MODEL_BUCKET": "b", "PATH": "/bin"})

    assert found == PredictSettings(model_name="fruit", model_bucket="b")


def test_a_missing_variable_is_named():
    with pytest.raises(SettingsError, match="MODEL_BUCKET is not set; expected str; deploy the stack again"):
        PredictSettings.from_env({"MODEL_NAME": "fruit"})


@pytest.mark.parametrize(("variable", "text", "expected"), [("MAX_LOADED_VERSIONS", "two", "int"), ("DEADLINE_SECONDS", "", "float")])
def test_a_variable_of_another_type_is_named_with_what_was_found(variable, text, expected):
    environ = {"MODEL_NAME": "fruit", "MODEL_BUCKET": "b", variable: text}

    with pytest.raises(SettingsError, match=f"{variable} is {text!r}; expected {expected}"):
        PredictSettings.from_env(environ)
