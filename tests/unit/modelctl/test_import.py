"""`modelctl import`, from a file to a folder that trains."""

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import orjson
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from typer.testing import CliRunner, Result

from models.config import ModelConfig
from tests.unit.modelserve.graphs import endless, pair, scaled
from tools.modelctl import bring, console, lifecycle, paths
from tools.modelctl.cli import app
from tools.modelctl.errors import BuildFailed, UsageFailed
from tools.modelctl.frameworks import ModelFile, child, files, inside, onnx_files, sandbox
from tools.modelctl.frameworks.probe import Probed, Tensor
from tools.modelctl.source import Source
from tools.modelctl.trial import Trial

ROOT = Path(__file__).parents[3]
RANDOM = np.random.default_rng(0)
TABLE = pd.DataFrame({"size": RANDOM.normal(size=80), "age": RANDOM.normal(size=80)})
TABLE["price"] = 3 * TABLE["size"] - TABLE["age"]
TABLE["kind"] = np.where(TABLE["size"] > 0, "large", "small")
NUMBERS = TABLE[["size", "age"]]
X = NUMBERS.to_numpy()


@pytest.fixture(autouse=True)
def workplace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty repository."""
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    monkeypatch.setattr(console.out, "width", 240)
    files._WARNED.clear()
    (tmp_path / "models").mkdir()
    TABLE.to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What two processes do otherwise, each of which takes seconds to start: files open in this one, and no trial is made."""

    def ask(request: Any, scratch: Path) -> Any:
        (scratch / inside.REQUEST).write_bytes(pickle.dumps(request))
        inside.answer(scratch, sandbox.Refusal)
        facts = child._facts(scratch / inside.FACTS, 0, "", request.file.path.name)
        if facts.refused:
            raise BuildFailed(facts.refused)
        return facts

    monkeypatch.setattr(child, "_ask", ask)
    trial = Trial(load_seconds=0.1, run_seconds=0.1, peak_megabytes=100, answers_zeros=True)
    monkeypatch.setattr("tools.modelctl.assess.attempt", lambda *_: trial)


def bring_in(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["import", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def left(workplace: Path) -> list[str]:
    return sorted(
        file.relative_to(workplace / "models").as_posix() for file in (workplace / "models").rglob("*") if "__pycache__" not in str(file)
    )


def saved(workplace: Path, estimator: Any, name: str = "price-of-houses.joblib") -> Path:
    joblib.dump(estimator, workplace / name, compress=3)
    return workplace / name


def test_a_pipeline_with_rows_becomes_a_model_that_is_ready_to_publish(workplace: Path) -> None:
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(NUMBERS, TABLE["kind"])
    rows = workplace / "own.csv"
    TABLE.drop(columns="price").to_csv(rows, index=False)
    result = bring_in(saved(workplace, fitted), "--name", "house", "--task", "classification", "--data", rows, "--target", "kind")
    assert result.stderr.count("a pickle can run code; it is opened in a process without network or credentials") == 1
    assert result.stdout.strip().splitlines()[-1] == "Next: modelctl evaluate house"
    assert left(workplace) == ["house", *(f"house/{name}" for name in ("model.joblib", "model.toml", "rows.csv", "train.py"))]
    built = lifecycle.build(ModelConfig.load(workplace / "models/house"), models=paths.MODELS, output=paths.BUILD)
    assert built.cached
    assert built.passed
    assert built.manifest.metrics["accuracy"] > 0.9
    assert built.manifest.labels == ("large", "small")


@pytest.mark.usefixtures("in_process")
def test_a_pickle_that_runs_something_leaves_nothing(workplace: Path) -> None:
    mark = workplace / "mark"
    (workplace / "bad.pkl").write_bytes(b"cos\nsystem\n(S'touch " + str(mark).encode() + b"'\ntR.")
    result = bring_in(workplace / "bad.pkl", code=1)
    assert "bad.pkl was not imported: the pickle names os.system, which is not among the classes" in result.stderr
    assert left(workplace) == []
    assert not (workplace / "build").exists()
    assert not mark.exists()


@pytest.mark.usefixtures("in_process")
def test_a_pickle_writes_nothing_of_its_own_into_the_train_py(workplace: Path) -> None:
    """Which is run here, with all that a person may."""
    fitted, tensor = LinearRegression().fit(X, TABLE["price"]), StandardScaler()
    tensor.__dict__.update(dtype=f"int64 if open({str(workplace / 'mark')!r}, 'w') else np.int64", shape=(1, 2))
    fitted.__dict__.update(example_inputs=([tensor],), framework="\x1b[2J signed")
    result = bring_in(saved(workplace, fitted))
    assert not (workplace / "mark").exists()
    assert "open(" not in (workplace / "models/price_of_houses/train.py").read_text()
    assert "(scikit-learn 1." in result.stdout
    assert "opening its file" in result.stderr
    assert "training" not in result.stderr


@pytest.mark.usefixtures("in_process")
def test_rows_that_no_memory_holds_are_not_made(workplace: Path) -> None:
    fitted = LinearRegression().fit(X, TABLE["price"])
    fitted.n_features_in_ = 2**31 - 1
    assert "more than is made of noise; give some" in bring_in(saved(workplace, fitted), code=1).stderr
    assert left(workplace) == []


@pytest.mark.parametrize(("name", "size", "told"), [("\x1b[2J", 1, r"name '\\x1b\[2J'"), ("x", 2**40, "shape 1099511627776")])
def test_a_graph_whose_input_can_not_be_told_is_refused(name: str, size: int, told: str) -> None:
    graph = onnx.load_model_from_string(pair())
    graph.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, size]))
    with pytest.raises(BuildFailed, match=told):
        onnx_files.probed(graph)


@pytest.mark.usefixtures("in_process")
def test_what_a_killed_import_left_is_deleted_a_day_later(workplace: Path) -> None:
    for name, age in (("old", 86_500), ("new", 100)):
        kept = workplace / "models" / f".import-{name}"
        (kept / "some").mkdir(parents=True)
        (kept / "some/rows.csv").write_text("of a person")
        os.utime(kept, (time.time() - age,) * 2)
    bring_in(saved(workplace, LinearRegression().fit(X, TABLE["price"])))
    assert not (workplace / "models/.import-old").exists()
    assert (workplace / "models/.import-new/some/rows.csv").exists()


@pytest.mark.usefixtures("in_process")
def test_a_build_that_can_not_be_kept_leaves_nothing(workplace: Path) -> None:
    (workplace / "build").write_text("no folder")
    result = CliRunner().invoke(app, ["import", str(saved(workplace, LinearRegression().fit(X, TABLE["price"])))])
    assert result.exit_code != 0
    assert left(workplace) == []


@pytest.mark.usefixtures("in_process")
def test_a_graph_without_rows_is_served_as_it_is_and_said_to_be_scored_by_nothing(workplace: Path) -> None:
    (workplace / "pair.onnx").write_bytes(pair())
    result = bring_in(workplace / "pair.onnx", "--json")
    assert "no rows" not in result.stdout
    document = orjson.loads(result.stdout)
    assert (document["task"], document["metrics"], document["failures"]) == ("custom", {}, [])
    assert [tensor["name"] for tensor in document["outputs"]] == ["total", "difference"]
    assert "rows" not in (workplace / "models/pair/model.toml").read_text().splitlines()[0]


@pytest.mark.usefixtures("in_process")
def test_without_rows_nothing_is_scored_and_that_is_said_aloud(workplace: Path) -> None:
    result = bring_in(saved(workplace, LinearRegression().fit(NUMBERS.to_numpy(), TABLE["price"])))
    assert "nothing is scored and no gate can hold it back" in result.stderr
    assert result.stdout.strip().splitlines()[-1] == "Next: modelctl publish price_of_houses"
    config = ModelConfig.load(workplace / "models/price_of_houses")
    assert (config.task, config.gates) == ("regression", ())


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("estimator", "arguments", "task"),
    [
        (LinearRegression().fit(NUMBERS, TABLE["price"]), ["--target", "price"], "regression"),
        (LogisticRegression().fit(NUMBERS, TABLE["kind"]), ["--target", "kind"], "classification"),
        (KMeans(2, n_init=1, random_state=0).fit(NUMBERS), [], "clustering"),
        (
            make_pipeline(make_column_transformer((OneHotEncoder(), ["kind"]), ("passthrough", ["age"])), LinearRegression()).fit(
                TABLE[["age", "size", "kind"]], TABLE["price"]
            ),
            ["--target", "price"],
            "regression",
        ),
    ],
    ids=["regressor", "classifier", "clusters", "table"],
)
def test_the_task_and_the_columns_are_those_it_was_trained_for(workplace: Path, estimator: Any, arguments: list[str], task: str) -> None:
    bring_in(saved(workplace, estimator), "--data", workplace / "rows.csv", *arguments)
    assert ModelConfig.load(workplace / "models/price_of_houses").task == task


@pytest.mark.usefixtures("in_process")
def test_arrays_with_labels_come_from_npz(workplace: Path) -> None:
    y = (TABLE["size"] > 0).to_numpy().astype(np.int64)
    np.savez(workplace / "rows.npz", X=NUMBERS.to_numpy(np.float32), y=y)
    file = saved(workplace, LogisticRegression().fit(NUMBERS.to_numpy(), y))
    bring_in(file, "--data", workplace / "rows.npz", "--target", "y", "--labels", "small, large")
    assert ModelConfig.load(workplace / "models/price_of_houses").labels == ("small", "large")


@pytest.mark.usefixtures("in_process")
def test_weights_that_lie_beside_a_graph_become_part_of_it(workplace: Path) -> None:
    model = onnx.load_from_string(scaled(2))
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.array([2], np.float32), "factor"))
    onnx.save(model, workplace / "scaled.onnx", save_as_external_data=True, location="scaled.data", size_threshold=0)
    assert (workplace / "scaled.data").exists()
    bring_in(workplace / "scaled.onnx")
    assert left(workplace) == ["scaled", "scaled/model.onnx", "scaled/model.toml", "scaled/train.py"]


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "linked"])
def test_weights_that_lie_elsewhere_are_not_read(workplace: Path, location: str) -> None:
    folder = workplace / "given"
    folder.mkdir()
    (workplace / "secret").write_bytes(bytes(8))
    (folder / "linked").hardlink_to(workplace / "secret")
    model = onnx.load_from_string(scaled(2))
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    (folder / "scaled.onnx").write_bytes(model.SerializeToString())
    assert "which is no file of its own beside it" in bring_in(folder / "scaled.onnx", code=1).stderr
    assert left(workplace) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (endless(), "may never end"),
        (pair()[:60], "no whole ONNX model"),
        (b"", "an empty file"),
        (b"\x08\x0a\x12\x04made", "has no graph in it"),
    ],
)
def test_a_graph_that_may_not_be_served_leaves_nothing(workplace: Path, content: bytes, told: str) -> None:
    (workplace / "bad.onnx").write_bytes(content)
    assert told in bring_in(workplace / "bad.onnx", code=1).stderr
    assert left(workplace) == []


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("estimator", "arguments", "told"),
    [
        (KMeans(2, n_init=1).fit(NUMBERS), [], "clusters are judged by the distances between rows; give some: --data FILE"),
        (
            make_pipeline(make_column_transformer((OneHotEncoder(), ["kind"])), LinearRegression()).fit(TABLE[["kind"]], TABLE["price"]),
            [],
            "give some with the columns kind: --data FILE.csv --target COLUMN",
        ),
        (make_pipeline(TfidfVectorizer(), LinearRegression()).fit(["one", "two"], [1, 2]), [], "what a row of it is can't be known"),
        (LinearRegression().fit(NUMBERS.rename(columns={"age": "years"}), TABLE["price"]), ["price"], "the rows lack years"),
        (
            LinearRegression().fit(NUMBERS.to_numpy(), TABLE["price"]),
            ["price"],
            "the rows have 3 columns (size, age, kind), and the model takes 2",
        ),
        (LogisticRegression().fit(NUMBERS, TABLE["size"] > 0), ["kind"], "the model answers False, True, and the rows have large, small"),
    ],
    ids=["clusters", "table", "text", "columns", "width", "classes"],
)
def test_rows_that_do_not_fit_leave_nothing(workplace: Path, estimator: Any, arguments: list[str], told: str) -> None:
    given = ["--data", workplace / "rows.csv", "--target", *arguments] if arguments else []
    assert told in bring_in(saved(workplace, estimator), *given, code=1).stderr
    assert left(workplace) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["rows.csv"], "rows.csv is of no kind that is known here"),
        (["none.onnx"], "none.onnx is not there"),
        (["pair.onnx", "--name", "Bad"], "expected: a lower-case letter"),
        (["pair.onnx", "--name", "taken"], "is there already; expected a new name"),
        (["pair.onnx", "--target", "kind"], "names a column of --data, which is not given"),
        (["pair.onnx", "--data", "rows.csv", "--target", "colour"], "has no 'colour'; expected one of 'size', 'age', 'price', 'kind'"),
        (["pair.onnx", "--data", "pair.onnx"], "is of no kind that holds rows"),
        (["pair.onnx", "--data", "bad.npz"], "can't be read as rows"),
        (["pair.onnx", "--module", "none.py:Net"], "names no file; expected FILE.py:Class"),
    ],
)
def test_what_was_asked_wrongly_is_said_before_anything_is_opened(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(workplace)
    (workplace / "pair.onnx").write_bytes(pair())
    np.savez(workplace / "bad.npz", x=np.array([{}], dtype=object))
    (workplace / "models/taken").mkdir()
    monkeypatch.setattr(child, "_ask", None)
    assert told in bring_in(*arguments, code=1).stderr
    assert left(workplace) == ["taken"]


def test_a_name_is_made_of_the_file_or_of_what_mlflow_calls_it() -> None:
    assert bring.name_of("some/Price of Houses-v2.joblib") == "price_of_houses_v2"
    assert bring.name_of("models:/churn@champion") == "churn"
    assert bring.name_of("models:/churn/3") == "churn"
    with pytest.raises(UsageFailed, match="--name NAME"):
        bring.name_of("2024.onnx")


TENSORS = (Tensor(name="ids", dtype="int64", shape=(-1,)), Tensor(name="mask", dtype="bool", shape=(4,)))
WRITTEN: tuple[tuple[dict[str, Any], str, Probed, Any], ...] = (
    ({"data": Path("r.csv"), "target": 'the "price"'}, "regression", Probed(), NUMBERS),
    ({"data": Path("r.parquet")}, "clustering", Probed(columns=("age", "size")), NUMBERS),
    ({"data": Path("r.npz"), "target": "y"}, "regression", Probed(), {"X": X}),
    ({"data": Path("r.npz")}, "custom", Probed(), {"a": X, "b": X}),
    ({}, "regression", Probed(inputs=(Tensor(name="input", shape=(2, 3)),)), None),
    ({}, "custom", Probed(inputs=TENSORS), None),
    ({}, "custom", Probed(inputs=(Tensor(name="words", dtype="object", shape=(1,)),)), None),
    ({"module": "net.py:Net"}, "custom", Probed(inputs=TENSORS), None),
)


def test_what_it_writes_reads_as_if_a_person_had(tmp_path: Path) -> None:
    for place, (asked, task, known, rows) in enumerate(WRITTEN):
        wish = bring.Wish(name="some", **asked)
        folder = tmp_path / "written" / str(place)
        folder.mkdir(parents=True)
        (folder / "train.py").write_text(bring._source(wish, task, ModelFile(Path("model.onnx"), module=wish.module), known, rows))
        if not wish.data:
            made, y = Source.of(folder).load()
            assert y is None
            assert {len(values) for values in (made.values() if isinstance(made, dict) else [made])} == {64}
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--config", str(ROOT / "pyproject.toml"), str(tmp_path / "written")]
        done = subprocess.run(ruff, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
