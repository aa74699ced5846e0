"""Models that MLflow keeps: fetched from a registry or a run by MLflow's own client, and the file of the framework found within."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.modelctl.errors import BuildFailed, first_line
from tools.modelctl.frameworks import extra

__all__ = ["DESCRIPTION", "fetch", "flavor", "is_uri"]

DESCRIPTION = "MLmodel"
"""The file that makes a folder a model of MLflow's."""
_FILES = {
    "onnx": "data",
    "xgboost": "data",
    "lightgbm": "data",
    "keras": "data",
    "tensorflow": "saved_model_dir",
    "pytorch": "model_data",
    "sklearn": "pickled_model",
}
"""Which key of a flavor names its file, or the folder it lies in; of several flavors the first here is taken."""
_MOST_BYTES = 2**20
_SHOWN = 100  # letters of what may be of any length
_LOG = "log it again by its framework's own flavor, such as mlflow.onnx.log_model or mlflow.sklearn.log_model"
_SECRETS = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD")
_SETTINGS = {
    "MLFLOW_ALLOW_FILE_STORE": "true",  # MLflow would rather that new ones were made elsewhere; this one is only read
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""Unless the environment says otherwise."""


def is_uri(text: str) -> bool:
    """Whether it names a model in MLflow, `models:/NAME@ALIAS`, `models:/NAME/VERSION` or `runs:/RUN/PATH`, and no path."""
    return text.startswith(("models:/", "runs:/"))


def fetch(uri: str, tracking_uri: str | None, to: Path) -> Path:
    """The folder of the model, downloaded into `to`.

    `tracking_uri` is a server's address, or `file:` and the folder of a local store; None is what MLFLOW_TRACKING_URI says, which MLflow
    reads together with its credentials. Raises `BuildFailed`, with no credential in its text.
    """
    if not re.fullmatch(r"models:/[^/@]+(@[\w.-]+|/\w+)|models:/m-[0-9a-f]+|runs:/\w+/.+", uri):
        raise BuildFailed(f"{uri!r} names no model of MLflow; expected models:/NAME@ALIAS, models:/NAME/VERSION or runs:/RUN/PATH")
    where = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not where:
        raise BuildFailed(
            f"where is {uri}? Give the tracking server's address, or file: and a folder, as --tracking-uri or MLFLOW_TRACKING_URI"
        )
    with _settings(where):
        artifacts = extra("mlflow", "mlflow.artifacts")
        try:
            found = artifacts.download_artifacts(artifact_uri=uri, dst_path=str(to))
        except Exception as error:  # noqa: BLE001 - MLflow's own, its HTTP client's, the file system's
            raise BuildFailed(_without_secrets(f"{uri} can't be had from {where}: {first_line(error)}; {_way_out(error)}")) from None
    return Path(found)


def flavor(folder: Path) -> Path:
    """The file, or the SavedModel's folder, of the flavor to import. MLflow itself isn't needed for that.

    Raises `BuildFailed` where there is none, such as for a model that is only Python code.
    """
    flavors = _flavors(folder)
    name = next((name for name in _FILES if name in flavors), None)
    if name is None:
        found = ", ".join(sorted(ascii(key).strip("'") for key in flavors))[:_SHOWN] or "none"
        code = "python_function is Python code, which ONNX can't hold; " if set(flavors) == {"python_function"} else ""
        raise BuildFailed(f"the model in {folder} has the flavors {found}; expected one of {', '.join(_FILES)}; {code}{_LOG}")
    entry = flavors[name] if isinstance(flavors[name], dict) else {}
    given = entry.get(_FILES[name], entry.get("data"))
    if isinstance(given, str) and given.endswith(".skops"):
        raise BuildFailed(f"the {name} model in {folder} is of the format skops; log it again with serialization_format='pickle'")
    if not isinstance(given, str) or not _is_inside(folder, given):
        told = ascii(given)[:_SHOWN] if isinstance(given, str | None) else f"a {type(given).__name__}"
        raise BuildFailed(f"the {name} model in {folder} is said to be in {told}, which isn't there; {_LOG}")
    return _within(folder / given)


def _is_inside(folder: Path, name: str) -> bool:
    try:
        return (folder / name).resolve().is_relative_to(folder.resolve()) and (folder / name).exists()
    except (OSError, ValueError):  # no name that a file can have
        return False


def _within(path: Path) -> Path:
    """Keras and PyTorch have one file `model.*` in a folder, beside notes on it; TensorFlow the folder itself."""
    if not path.is_dir() or (path / "saved_model.pb").is_file():
        return path
    files = sorted(file for file in path.iterdir() if file.stem == "model")
    if len(files) != 1:
        raise BuildFailed(f"{path} holds {', '.join(file.name for file in files) or 'no model.*'}; expected one file model.*; {_LOG}")
    return files[0]


def _flavors(folder: Path) -> dict[str, Any]:
    yaml = extra("mlflow", "yaml")
    file = folder / DESCRIPTION
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it has {file.stat().st_size:,} bytes, MLflow's own at most {_MOST_BYTES:,}")
        flavors = yaml.safe_load(file.read_text(encoding="utf-8"))["flavors"]
        if not isinstance(flavors, dict):
            raise TypeError("flavors is no mapping")
    except (OSError, ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise BuildFailed(
            f"{file} is no description of a model ({first_line(error, named=True):.{_SHOWN}}); "
            "expected the folder that MLflow's log_model or save_model wrote"
        ) from None
    return flavors


@contextmanager
def _settings(where: str) -> Iterator[None]:
    """In the environment, which is where all parts of MLflow look; as it was afterwards."""
    wanted = {**_SETTINGS, **os.environ, "MLFLOW_TRACKING_URI": where, "MLFLOW_REGISTRY_URI": where}
    kept = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _way_out(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}"
    if "UnsupportedModelRegistryStoreURI" in text or "sqlalchemy" in text:
        return "a store in a database is read through its server: start `mlflow server --backend-store-uri ...` and give its address"
    if "401" in text or "403" in text:
        return "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    return "check the name and its alias or version, and --tracking-uri or MLFLOW_TRACKING_URI"


def _without_secrets(text: str) -> str:
    text = re.sub(r"//[^/@\s]+@", "//", text)
    for secret in filter(None, map(os.environ.get, _SECRETS)):
        text = text.replace(secret, "***")
    return text
