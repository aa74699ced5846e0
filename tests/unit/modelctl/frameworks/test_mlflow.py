"""Models out of MLflow: from a real local store, from what a tracking server answers, and from a folder that somebody copied."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.modelctl.frameworks.tracking import TOKEN, serve
from tools.modelctl.errors import BuildFailed
from tools.modelctl.frameworks.mlflow_store import fetch, flavor, is_uri

PYFUNC = {"python_function": {"loader_module": "mlflow.pyfunc.model"}}


def described(folder: Path, flavors: dict[str, Any], *files: str) -> Path:
    """JSON is YAML."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"bytes of " + name.encode())
    folder.mkdir(exist_ok=True)
    (folder / "MLmodel").write_text(json.dumps({"flavors": flavors, "model_uuid": "m-1"}), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("flavors", "files", "found"),
    [
        ({"onnx": {"data": "model.onnx"}, "sklearn": {"pickled_model": "model.pkl"}}, ["model.onnx", "model.pkl"], "model.onnx"),
        ({"sklearn": {"pickled_model": "model.pkl", "serialization_format": "pickle"}}, ["model.pkl"], "model.pkl"),
        ({"xgboost": {"data": "model.ubj"}}, ["model.ubj"], "model.ubj"),
        ({"lightgbm": {"data": "model.lgb", "serialization_format": "skops"}}, ["model.lgb"], "model.lgb"),
        ({"pytorch": {"model_data": "data"}}, ["data/model.pt2", "data/pickle_module_info.txt"], "data/model.pt2"),
        ({"keras": {"data": "data"}}, ["data/model.keras", "data/keras_module.txt"], "data/model.keras"),
        ({"tensorflow": {"model_type": "keras", "data": "data"}}, ["data/model.keras", "data/save_format.txt"], "data/model.keras"),
        ({"tensorflow": {"saved_model_dir": "tf2model"}}, ["tf2model/saved_model.pb", "tf2model/variables/x"], "tf2model"),
    ],
)
def test_the_file_of_its_framework_is_found(tmp_path: Path, flavors: dict[str, Any], files: list[str], found: str) -> None:
    assert flavor(described(tmp_path, {**PYFUNC, **flavors}, *files)) == tmp_path / found


@pytest.mark.parametrize(
    ("flavors", "told"),
    [
        (PYFUNC, "python_function is Python code, which ONNX can't hold; log it again"),
        ({**PYFUNC, "spark": {"model_data": "sparkml"}}, "has the flavors python_function, spark; expected one of onnx, xgboost"),
        ({}, "has the flavors none"),
        ({"sklearn": {"pickled_model": "model.skops", "serialization_format": "skops"}}, "serialization_format='pickle'"),
        ({"onnx": {"data": "../secret"}}, "'../secret', which isn't there"),
        ({"onnx": {"data": "/etc/hostname"}}, "'/etc/hostname', which isn't there"),
        ({"onnx": {"data": "gone.onnx"}}, "'gone.onnx', which isn't there"),
        ({"onnx": {"data": "a\0b"}}, r"'a\\x00b', which isn't there"),
        ({"onnx": {"data": "a" * 5000}}, "aaa, which isn't there"),
        ({"onnx": {"data": [["lol"] * 9] * 9}}, "in a list, which isn't there"),
        ({"\x1b[2J": {}}, r"has the flavors \\x1b\[2J; expected"),
        ({"onnx": {}}, "None, which isn't there"),
        ({"onnx": None}, "None, which isn't there"),
        ({"pytorch": {"model_data": "data"}}, "expected one file model"),
    ],
)
def test_what_has_no_such_file_is_refused(tmp_path: Path, flavors: dict[str, Any], told: str) -> None:
    (tmp_path / "secret").write_text("of somebody else")
    folder = described(tmp_path / "model", flavors, "model.skops", "data/notes.txt")
    with pytest.raises(BuildFailed, match=told):
        flavor(folder)


@pytest.mark.parametrize(
    "text",
    [
        *("", "no mapping", "flavors: 3", "{", "!!python/object/apply:os.system ['touch owned']", "flavors: {onnx: {data: \x00}}"),
        *("[" * 1100, "# " + "x" * 2**20),
    ],
    ids=range(8),
)
def test_a_description_that_is_none_runs_nothing_and_is_refused(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "MLmodel").write_text(text, encoding="utf-8")
    with pytest.raises(BuildFailed, match=r"MLmodel is no description of a model .* expected the folder that MLflow"):
        flavor(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["MLmodel"]


def test_a_folder_without_a_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="is no description of a model"):
        flavor(tmp_path)


def test_a_model_in_mlflow_is_no_path() -> None:
    assert [is_uri(text) for text in ("models:/fruit@champion", "runs:/1a/model", "models/fruit", "model.onnx")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("uri", ["models:/fruit", "models:/", "models:/fruit@", "runs:/1a", "models:/a/b/c", "models:/fruit@a b"])
def test_what_names_no_model_is_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(BuildFailed, match="expected models:/NAME@ALIAS, models:/NAME/VERSION or runs:/RUN/PATH"):
        fetch(uri, "file:store", tmp_path)


def test_nobody_guesses_where_the_models_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(BuildFailed, match="--tracking-uri or MLFLOW_TRACKING_URI"):
        fetch("models:/fruit@champion", None, tmp_path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A local store with one model, made by MLflow's own client."""
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    folder = tmp_path_factory.mktemp("mlflow")
    model = described(folder / "logged", {"onnx": {"data": "model.onnx"}}, "model.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        where = f"file:{folder / 'store'}"
        client = MlflowClient(where, where)
        client.create_registered_model("fruit")
        version = client.create_model_version("fruit", f"file:{model}")
        client.set_registered_model_alias("fruit", "champion", version.version)
        run = client.create_run(client.create_experiment("ripening", artifact_location=f"file:{folder / 'artifacts'}"))
        client.log_artifacts(run.info.run_id, str(model), "model")
        (folder / "run").write_text(run.info.run_id)
    return where


WARNS = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning", "ignore::ResourceWarning")


@WARNS
@pytest.mark.parametrize("uri", ["models:/fruit@champion", "models:/fruit/1", "runs:/RUN/model"])
def test_a_model_comes_out_of_a_local_store(tmp_path: Path, store: str, uri: str) -> None:
    before = dict(os.environ)
    run = (Path(store.removeprefix("file:")).parent / "run").read_text()
    folder = fetch(uri.replace("RUN", run), store, tmp_path)
    assert flavor(folder).read_bytes() == b"bytes of model.onnx"
    assert folder.is_relative_to(tmp_path)
    assert dict(os.environ) == before


@WARNS
@pytest.mark.parametrize("uri", ["models:/pear@champion", "models:/fruit/9", "models:/fruit@winner", "runs:/1a2b/model"])
def test_what_the_store_does_not_have_is_told(tmp_path: Path, store: str, uri: str) -> None:
    with pytest.raises(BuildFailed, match=rf"{uri} can't be had from file:.*; check the name and its alias or version"):
        fetch(uri, store, tmp_path)


@WARNS
def test_the_environment_may_say_where_the_models_are(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    assert flavor(fetch("models:/fruit@champion", None, tmp_path)).name == "model.onnx"


@WARNS
@pytest.mark.parametrize("uri", ["models:/fruit@champion", "models:/fruit/1"])
def test_a_model_comes_from_a_tracking_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    description = json.dumps({"flavors": {"xgboost": {"data": "model.ubj"}}}).encode()
    with serve({"MLmodel": description, "model.ubj": b"trees"}) as address:
        assert flavor(fetch(uri, address, tmp_path)).read_bytes() == b"trees"


@WARNS
def test_a_server_that_refuses_is_told_without_a_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "wrong-but-secret")
    with serve({}) as address, pytest.raises(BuildFailed, match="set MLFLOW_TRACKING_TOKEN, or") as refused:
        fetch("models:/fruit@champion", address, tmp_path)
    with serve({}) as address:
        monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
        with pytest.raises(BuildFailed, match="set MLFLOW_TRACKING_TOKEN, or") as named:
            fetch("models:/fruit@champion", address.replace("//", "//somebody:hidden@"), tmp_path)
    told = f"{refused.value} {named.value}"
    assert not any(secret in told for secret in ("wrong-but-secret", "hidden", "somebody"))


@WARNS
def test_a_server_that_is_not_there_is_told_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(BuildFailed, match=r"can't be had from http://127\.0\.0\.1:9: "):
        fetch("models:/fruit@champion", "http://127.0.0.1:9", tmp_path)
