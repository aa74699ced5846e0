"""batch on a deployment, as a person at a terminal sees it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from tools.modelctl.cli import app
from tools.modelctl.commands import batch
from tools.modelctl.data_sets_remote import Progress, Started
from tools.modelctl.deployment import on_this_machine

RUN = "20261121T193000Z-0badcafe"
OUTPUT = f"s3://data/out/price/{RUN}/"
SCORED = {
    "run": RUN,
    "model_name": "price",
    "model_version": "20261120T174100Z-1a2b3c4d",
    "output": OUTPUT,
    "rows": 1200,
    "bad": 2,
    "batch_rows": 4096,
    "manifest": f"{OUTPUT}manifest.json",
    "errors": f"{OUTPUT}errors.jsonl",
}


class Runs:
    """Stands for `DataSets`; whoever follows sees `seen`, or is interrupted."""

    asked: list[Any]

    def __init__(self, *seen: Progress, interrupted: bool = False) -> None:
        self.asked = []
        self._seen = seen
        self._interrupted = interrupted

    def __call__(self, _: object) -> Runs:
        return self

    def start(self, model: str, **asked: Any) -> Started:
        self.asked.append({"model": model, **asked})
        return Started(RUN, "arn:execution")

    def resume(self, run: str) -> Started:
        self.asked.append(run)
        return Started(run, "arn:execution")

    def follow(self, _: Started) -> Iterator[Progress]:
        yield from self._seen
        if self._interrupted:
            raise KeyboardInterrupt


def run(monkeypatch: pytest.MonkeyPatch, runs: Runs, *arguments: str, remote: bool = False) -> Any:
    deployment = on_this_machine("http://127.0.0.1:9", "models", "us-east-1")
    found = replace(deployment, name="dev", endpoint_url=None) if remote else deployment
    monkeypatch.setattr(batch, "find", lambda *_, **__: found)
    monkeypatch.setattr(batch, "DataSets", runs)
    return CliRunner().invoke(app, ["batch", *arguments], env={"COLUMNS": "200"})


DONE = (Progress(0, 0, {}), Progress(1, 4, {}), Progress(4, 4, SCORED))
ASKED = ("price", "--input", "s3://data/sets/houses/", "--output", OUTPUT)


def test_rows_that_ran_by_themselves_are_told(monkeypatch):
    alone = Progress(4, 4, {**SCORED, "batch_rows": 1})
    for seen, times in ((alone, 1), (DONE[-1], 0)):
        found = run(monkeypatch, Runs(seen), *ASKED)
        assert (found.exit_code, found.output.count("each row ran by itself")) == (0, times), found.output


def test_a_run_ends_with_where_everything_is(monkeypatch):
    runs = Runs(*DONE)
    found = run(monkeypatch, runs, *ASKED, "--columns", "rooms=zimmer", "--prefix", "p_", "-d", "dev", remote=True)
    assert found.exit_code == 0, found.output
    assert found.stdout.splitlines() == [
        "1,200 rows by price 20261120T174100Z-1a2b3c4d: 1,198 scored, 2 bad",
        f"Output: {OUTPUT}data/",
        f"Manifest: {OUTPUT}manifest.json",
        f"Next: aws s3 cp {OUTPUT}errors.jsonl -   (a line a bad row: its number, and what to put right)",
    ]
    assert runs.asked == [
        {"model": "price", "input_uri": "s3://data/sets/houses/", "output_uri": OUTPUT, "columns": {"rooms": "zimmer"}, "prefix": "p_"}
    ]


def test_on_this_machine_the_next_command_goes_to_what_stands_for_aws(monkeypatch):
    whole = {**SCORED, "bad": 0, "errors": None}
    found = run(monkeypatch, Runs(Progress(1, 1, whole)), *ASKED)
    assert found.stdout.splitlines()[-1].startswith(f"Next: aws --endpoint-url http://127.0.0.1:9 s3 cp {OUTPUT}manifest.json -")


def test_json_is_what_the_run_came_to(monkeypatch):
    assert json.loads(run(monkeypatch, Runs(*DONE), *ASKED, "--json").stdout) == SCORED


def test_a_detached_run_is_not_waited_for(monkeypatch):
    found = run(monkeypatch, Runs(interrupted=True), *ASKED, "--detach", "-d", "dev", remote=True)
    assert found.exit_code == 0
    assert found.stdout.splitlines()[-1] == f"Next: modelctl batch --resume {RUN} --deployment dev"
    told = json.loads(run(monkeypatch, Runs(), *ASKED, "--detach", "--json").stdout)
    assert told == {"run": RUN, "execution": "arn:execution"}


def test_ctrl_c_leaves_the_run_at_it(monkeypatch):
    found = run(monkeypatch, Runs(DONE[1], interrupted=True), *ASKED, "-d", "dev", remote=True)
    assert found.exit_code == 130
    assert f"the run {RUN} goes on without you; this follows it: modelctl batch --resume {RUN} --deployment dev" in found.stderr


def test_a_run_can_be_gone_on_with(monkeypatch):
    runs = Runs(*DONE)
    assert run(monkeypatch, runs, "--resume", RUN).exit_code == 0
    assert runs.asked == [RUN]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--resume", RUN, "price"), "expected no NAME, --input, --output or --local beside it"),
        (("--resume", RUN, "--output", OUTPUT), "expected no NAME, --input, --output or --local beside it"),
        (("price",), "expected NAME and --input, or --resume RUN"),
        (("--input", "s3://data/sets/"), "expected NAME and --input, or --resume RUN"),
        (("price", "--input", "data.csv", "--local"), "expected --output FILE with --local"),
        (("price", "--input", "data.csv", "--output", OUTPUT), "--input data.csv is no address in S3"),
        (("price", "--input", "s3://data/sets/", "--output", "out.csv"), "--output out.csv is no address in S3"),
    ],
)
def test_what_can_not_be_done_says_what_to_give(monkeypatch, arguments, reason):
    runs = Runs(*DONE)
    found = run(monkeypatch, runs, *arguments)
    assert (found.exit_code, runs.asked) == (1, [])
    assert reason in found.stderr
