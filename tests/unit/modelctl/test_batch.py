"""`modelctl batch --local`: a file in, the same rows with predictions out, from a model that was only trained."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner, Result

from models.config import ModelConfig
from tests.unit.modelctl.factories import model_folder
from tests.unit.modelctl.test_convert import MIXING
from tools.modelctl import console, lifecycle, paths
from tools.modelctl.cli import app
from tools.modelctl.commands.batch import bindings
from tools.modelctl.errors import UsageFailed


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A model `step` of one number, trained; nothing is deployed."""
    folder = tmp_path_factory.mktemp("repository")
    model_folder(folder / "models")
    lifecycle.build(ModelConfig.load(folder / "models" / "step"), models=folder / "models", output=folder / "build")
    return folder


@pytest.fixture(autouse=True)
def workplace(built, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "MODELS", built / "models")
    monkeypatch.setattr(paths, "BUILD", built / "build")
    monkeypatch.setattr("tools.modelctl.deployment.LOCAL_DEPLOYMENT", tmp_path / "none.json")
    monkeypatch.setattr(console.out, "width", 240)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["batch", "step", "--output", *arguments, "--local"])


def test_a_file_is_scored_and_the_last_line_says_what_to_look_at(tmp_path):
    Path("in.csv").write_text("id,input\n1,-1\n2,x\n3,1\n")
    done = run("out.csv", "--input", "in.csv")
    assert done.exit_code == 0, done.output
    assert [line.split(",")[:3] for line in Path("out.csv").read_text().splitlines()] == [
        ["id", "input", "label"],
        ["1", "-1", "low"],
        ["2", "x", ""],
        ["3", "1", "high"],
    ]
    assert "3 rows by step built-" in done.output
    assert "by itself" not in done.output
    assert done.output.splitlines()[-1].startswith(f"Next: head {tmp_path}/out.csv.errors.jsonl")
    assert orjson.loads(Path("out.csv.errors.jsonl").read_bytes())["row"] == 2
    manifest = orjson.loads(Path("out.csv.manifest.json").read_bytes())
    assert (manifest["rows"], manifest["scored"], manifest["bad"]) == (3, 2, 1)
    assert manifest["parts"][0]["path"] == f"{tmp_path}/out.csv"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.csv", "out.csv", "out.csv.errors.jsonl", "out.csv.manifest.json"]


def test_rows_that_would_be_answered_by_each_other_run_by_themselves(monkeypatch, tmp_path):
    """Among others the first would be far below their mean; alone each row is its own mean."""
    model_folder(tmp_path / "models", train=MIXING)
    built = lifecycle.build(ModelConfig.load(tmp_path / "models" / "step"), models=tmp_path / "models", output=tmp_path / "build")
    assert built.passed
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    lines = [",".join(f"input_{index}" for index in range(6)), *(",".join([str(number)] * 6) for number in (0, 10, 10))]
    Path("in.csv").write_text("\n".join(lines))
    done = run("out.csv", "--input", "in.csv")
    assert done.exit_code == 0, done.output
    assert [line.split(",")[6] for line in Path("out.csv").read_text().splitlines()[1:]] == ["low"] * 3
    assert done.output.count("each row ran by itself") == 1
    assert orjson.loads(Path("out.csv.manifest.json").read_bytes())["batch_rows"] == 1


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_many_shards_make_one_file_after_an_interrupt_too(tmp_path, suffix, monkeypatch):
    """Ctrl-C says that the same command goes on, which it does with what is missing."""
    numbers = np.linspace(-1, 1, 200, dtype=np.float32)
    file = tmp_path / f"in.{suffix}"
    if suffix == "parquet":
        parquet.write_table(pa.table({"x": numbers}), file, row_group_size=30)
    elif suffix == "csv":
        file.write_text("x\n" + "".join(f"{number}\n" for number in numbers))
    else:
        file.write_text("".join(f'{{"x": {number}}}\n' for number in numbers))
    options = [f"out.{suffix}", "--input", file.name, "--columns", "input=x", "--prefix", "p_"]
    monkeypatch.setattr("scoring.SHARD_BYTES", 300)
    import scoring

    whole, scored = scoring.score, []

    def interrupted(*arguments, **more):
        scored.append(arguments[2].index)
        if len(scored) == 3:
            raise KeyboardInterrupt
        return whole(*arguments, **more)

    monkeypatch.setattr(scoring, "score", interrupted)
    stopped = run(*options)
    assert stopped.exit_code == 130
    assert "the same command goes on from there" in stopped.output
    assert not (tmp_path / f"out.{suffix}").exists()
    done = run(*options)
    assert done.exit_code == 0, done.output
    assert "went on with an earlier run, which had scored 2 of" in done.output
    out = tmp_path / f"out.{suffix}"
    if suffix == "parquet":
        labels = parquet.read_table(out)["p_label"].to_pylist()
    elif suffix == "csv":
        labels = [line.split(",")[1] for line in out.read_text().splitlines()[1:]]
    else:
        labels = [orjson.loads(line)["p_label"] for line in out.read_text().splitlines()]
    assert len(labels) == 200
    assert (labels[0], labels[-1]) == ("low", "high")


def test_a_file_that_is_written_to_during_a_run_is_noticed_though_its_size_is_the_same(tmp_path, monkeypatch):
    import scoring

    file, whole = tmp_path / "in.csv", scoring.score
    file.write_text("id,input\n1,-1\n2,+1\n")

    def meanwhile(*arguments, **more):
        file.write_text("id,input\n1,+1\n2,-1\n")
        return whole(*arguments, **more)

    monkeypatch.setattr(scoring, "score", meanwhile)
    done = run("out.csv", "--input", "in.csv")
    assert done.exit_code == 1
    assert "was written to while it was read" in done.output
    assert [each.name for each in tmp_path.iterdir()] == ["in.csv"]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["out.csv", "--input", "none.csv"], "there is no file"),
        (["out.parquet", "--input", "in.csv"], "expected .csv, the format of in.csv"),
        (["there.csv", "--input", "in.csv"], "there.csv is there already"),
        (["out.csv", "--input", "in.csv", "--columns", "other=id"], "no input of the model"),
        (["out.csv", "--input", "in.csv", "--columns", "input=age"], "no column 'age'"),
        (["out.csv", "--input", "in.csv", "--columns", "input"], "expected INPUT=COLUMN"),
    ],
)
def test_what_can_not_be_done_is_said_in_a_paragraph(arguments, found):
    Path("in.csv").write_text("id,input\n1,2\n")
    Path("there.csv").write_text("")
    done = run(*arguments)
    assert done.exit_code == 1
    assert found in done.output


def test_a_model_that_was_never_trained_is_named_with_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "BUILD", tmp_path / "none")
    Path("in.csv").write_text("id,input\n1,2\n")
    done = run("out.csv", "--input", "in.csv")
    assert done.exit_code == 1
    assert "run: modelctl train step" in done.output


def test_columns_are_given_an_input_at_a_time():
    assert bindings(["x=a,b", "y=c"]) == {"x": ["a", "b"], "y": "c"}
    with pytest.raises(UsageFailed):
        bindings(["x=a", "x=b"])


def test_other_commands_do_not_wait_for_arrow():
    source = "import sys, tools.modelctl.cli; print([name for name in ('pyarrow', 'scoring', 'onnxruntime') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
