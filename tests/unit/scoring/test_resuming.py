"""A run that was interrupted goes on where it stopped, and ends as if it had not been."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
from pyarrow import parquet

from scoring import DataSetError, FileChanged, NothingToScore, PartsMissing, Plan, PlanConflict, Shard, begin, finish, plan, score
from tests.unit.scoring.factories import DISK, Adder, errors, run, shards, write

LINES = ["id,x_0,x_1,text", *[f"{number},{number % 20},1,t{number}" for number in range(60)]]


class Cut(Exception):
    """The power went."""


class Failing:
    """A disk that fails at its n-th write, after half of it."""

    type_name = "local"

    def __init__(self, left: int) -> None:
        self.left = left

    def open_output_stream(self, path):
        return _Stream(self, DISK.open_output_stream(path))

    def create_dir(self, path, recursive):
        DISK.create_dir(path, recursive=recursive)

    def move(self, source, target):
        self.spend()
        DISK.move(source, target)

    def spend(self):
        self.left -= 1
        if self.left < 0:
            raise Cut

    def __getattr__(self, name):
        return getattr(DISK, name)


class _Stream:
    def __init__(self, disk, stream):
        self.disk = disk
        self.stream = stream

    def write(self, data):
        half = memoryview(data)[: memoryview(data).nbytes // 2]
        try:
            self.disk.spend()
        except Cut:
            self.stream.write(half)
            raise
        self.stream.write(data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()


def _files(folder: Path) -> dict[str, bytes]:
    found = {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
    return {
        name: body for name, body in found.items() if name not in {"manifest.json", "started.json"} and not name.endswith(".unfinished")
    }


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_interrupted_at_every_write_it_ends_as_if_it_had_not_been(tmp_path, suffix):
    file = tmp_path / f"a.{suffix}"
    if suffix == "csv":
        write(file, LINES)
    else:
        source = pa.table({"x_0": [number % 20 for number in range(60)], "x_1": [1] * 60, "text": ["a"] * 60})
        parquet.write_table(source, file, row_group_size=20)
    run(file, tmp_path / "work", shard_bytes=300)
    expected, moments = _files(tmp_path / "work"), 0
    work = tmp_path / "work"
    while True:
        shutil.rmtree(work)
        disk = Failing(moments)
        try:
            made = plan(DISK, str(file), Adder(), shard_bytes=300)
            started = begin(made, disk, str(work))
            shards(made, work, fs=disk)
            finish(made, disk, str(work), str(work), started=started)
            break
        except Cut:
            assert not (work / "manifest.json").exists()
        manifest = run(file, work, shard_bytes=300)
        assert _files(work) == expected
        assert manifest.rows == 60
        moments += 1
    assert moments > 20


def test_a_scored_shard_is_not_scored_again(tmp_path, work):
    run(write(tmp_path / "a.csv", LINES), work)
    model = Adder()
    run(tmp_path / "a.csv", work, model=model)
    assert not model.rows
    report = orjson.loads((work / "reports" / "00000.json").read_bytes())
    for broken in (b"{", b"[]", orjson.dumps({**report, "plan": "another"})):
        (work / "reports" / "00000.json").write_bytes(broken)
        model = Adder()
        run(tmp_path / "a.csv", work, model=model)
        assert model.rows
    Path(report["part"]["path"]).write_bytes(b"")
    model = Adder()
    run(tmp_path / "a.csv", work, model=model)
    assert model.rows


def test_another_run_is_refused_with_what_differs(tmp_path, work):
    file = write(tmp_path / "a.csv", LINES)
    run(file, work)
    other = Adder()
    other.version = "20261122T120000Z-11111111"
    with pytest.raises(PlanConflict, match=r"version \(20261121T120000Z-00000000 there, 20261122T120000Z-11111111 now\).*delete"):
        run(file, work, model=other)
    write(file, LINES[:-1])
    with pytest.raises(PlanConflict, match="files"):
        run(file, work)


def test_a_file_that_changes_during_a_run_is_noticed(tmp_path, work):
    file = write(tmp_path / "a.csv", LINES)
    made = plan(DISK, str(file), Adder())
    write(file, [*LINES, "1,2,3,4"])
    with pytest.raises(FileChanged, match="start a new run"):
        shards(made, work)
    file.unlink()
    with pytest.raises(FileChanged, match="found none"):
        shards(made, work)


def test_a_file_that_is_written_while_it_is_read_is_noticed(tmp_path, work):
    class Writing(Adder):
        def run(self, *arguments, **options):
            os.utime(file, (1, 1))
            return super().run(*arguments, **options)

    file = write(tmp_path / "a.csv", LINES)
    made = plan(DISK, str(file), Adder())
    with pytest.raises(FileChanged, match="written while it was read"):
        shards(made, work, model=Writing())
    assert not list((work / "data").glob("*.csv"))


def test_a_full_disk_says_so(tmp_path, work):
    class Full(Failing):
        def spend(self):
            raise OSError(28, "No space left on device")

    made = plan(DISK, str(write(tmp_path / "a.csv", LINES)), Adder())
    with pytest.raises(DataSetError, match=r"the disk is full before all of .*part-00000.csv is written; make room"):
        shards(made, work, fs=Full(0))


def test_another_model_than_the_plans_is_refused(tmp_path, work):
    made = plan(DISK, str(write(tmp_path / "a.csv", LINES)), Adder())
    other = Adder()
    other.version = "another"
    with pytest.raises(DataSetError, match="what was loaded is adder another"):
        shards(made, work, model=other)


def test_a_shard_of_another_plan_is_refused(tmp_path, work):
    """Two runs that begin at once with one output: the shards are those of one, and the plan is the other's."""
    texts = LINES, [LINES[0], *[f"{line} and more" for line in LINES[1:]]]
    one, other = (plan(DISK, str(write(tmp_path / f"{len(lines[1])}.csv", lines)), Adder(), shard_bytes=300) for lines in texts)
    begin(other, DISK, str(work))
    for shard in one.shards:
        with pytest.raises(DataSetError, match="give each an output of its own"):
            score(DISK, other, shard, Adder(), DISK, str(work))


def test_of_two_runs_that_begin_at_once_one_goes_on(tmp_path, work):
    one, other = (plan(DISK, str(write(tmp_path / f"{count}.csv", LINES[:count])), Adder()) for count in (30, 60))

    def late(path, body):
        assert (path, body) == (f"{work}/plan.json", one.to_json())
        begin(other, DISK, str(work))

    with pytest.raises(PlanConflict, match="files"):
        begin(one, DISK, str(work), create=late)
    assert begin(other, DISK, str(work))


def test_of_two_runs_whose_plans_overwrite_each_other_one_goes_on(tmp_path, work):
    class Late(Failing):
        def move(self, source, target):
            DISK.move(source, target)
            if target.endswith("plan.json"):
                Path(target).write_bytes(other.to_json())

    one, other = (plan(DISK, str(write(tmp_path / f"{count}.csv", LINES[:count])), Adder()) for count in (30, 60))
    with pytest.raises(PlanConflict, match="files"):
        begin(one, Late(100), str(work))


def test_a_plan_is_hashed_once_however_many_shards_it_has(tmp_path, work, monkeypatch):
    made = plan(DISK, str(write(tmp_path / "a.csv", LINES)), Adder(), shard_bytes=300)
    started = begin(made, DISK, str(work))
    shards(made, work)
    known, times, written = Plan.from_json(made.to_json()), [], Plan.to_json

    def counted(plan):
        times.append(plan)
        return written(plan)

    monkeypatch.setattr(Plan, "to_json", counted)
    finish(known, DISK, str(work), str(work), started=started)
    assert times == [known]


def test_every_shard_must_have_a_part_and_a_report_of_the_plan(tmp_path, work):
    made = plan(DISK, str(write(tmp_path / "a.csv", LINES)), Adder(), shard_bytes=300)
    started = begin(made, DISK, str(work))
    with pytest.raises(PartsMissing, match="such as 0, 1, 2"):
        finish(made, DISK, str(work), str(work), started=started)
    shards(made, work)
    report = orjson.loads((work / "reports" / "00001.json").read_bytes())
    for wrong in (b"", b"{", orjson.dumps({**report, "plan": "another"}), orjson.dumps({**report, "index": 0})):
        (work / "reports" / "00001.json").write_bytes(wrong)
        with pytest.raises(PartsMissing, match=r"1 of .* shards have no report, such as 1; score them"):
            finish(made, DISK, str(work), str(work), started=started)
    (work / "reports" / "00001.json").write_bytes(orjson.dumps(report))
    Path(report["part"]["path"]).write_bytes(b"")
    with pytest.raises(PartsMissing, match="such as 1;"):
        finish(made, DISK, str(work), str(work), started=started)
    assert not (work / "manifest.json").exists()


def test_plans_and_shards_are_read_as_they_were_written(tmp_path):
    made = plan(DISK, str(write(tmp_path / "a.csv", LINES)), Adder(), shard_bytes=300)
    assert Plan.from_json(made.to_json()) == made
    assert Plan.from_json(made.to_json()).id == made.id
    assert [Shard.from_dict({**shard.to_dict(), "plan": "p"}) for shard in made.shards] == list(made.shards)
    with pytest.raises(DataSetError, match="schema 2"):
        Plan.from_json(made.to_json().replace(b'"schema":1', b'"schema":2'))
    with pytest.raises(DataSetError, match="no plan"):
        Plan.from_json(b"[]")


def test_a_folder_is_read_file_by_file_and_numbered_within_each(tmp_path, work):
    data = tmp_path / "in"
    (data / "deep").mkdir(parents=True)
    write(data / "b.csv", [LINES[0], "1,x,1,a"])
    write(data / "a.csv", [LINES[0], "1,1,1,a", "2,x,1,b"])
    write(data / "deep" / "c.csv", [LINES[0]])
    write(data / "_SUCCESS", b"")
    manifest = run(data, work)
    assert [(Path(item["file"]).name, item["row"]) for item in errors(manifest)] == [("a.csv", 2), ("b.csv", 1)]
    assert [Path(file.path).name for file in manifest.inputs] == ["a.csv", "b.csv", "c.csv"]
    assert [part.rows for part in manifest.parts] == [2, 1, 0]


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ([], "there is no file"),
        (["a.csv", "b.jsonl"], "several formats"),
        (["a.txt"], "suffix that no format has"),
        (["a.csv.gz"], "compressed as a whole.*decompress it first"),
    ],
)
def test_what_is_no_data_set_is_refused(tmp_path, names, match):
    for name in names:
        write(tmp_path / name, LINES)
    with pytest.raises(NothingToScore, match=match):
        plan(DISK, str(tmp_path), Adder())


def test_the_manifest_adds_up(tmp_path, work):
    import hashlib

    run(write(tmp_path / "a.csv", LINES), work, shard_bytes=300)
    document = orjson.loads((work / "manifest.json").read_bytes())
    assert document["rows"] == sum(part["rows"] for part in document["parts"]) == document["scored"] + document["bad"] == 60
    for part in document["parts"]:
        body = Path(part["path"]).read_bytes()
        assert (part["size"], part["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    assert document["inputs"][0]["hash"] == f"sha256:{hashlib.sha256((tmp_path / 'a.csv').read_bytes()).hexdigest()}"
    assert document["started"] <= document["finished"]
    assert document["errors"] == str(work / "errors.jsonl")


def test_a_failing_batch_is_run_by_halves_and_others_as_they_are(tmp_path, work):
    model = Adder()
    rows = [LINES[0], *["1,13,1,a" if number == 5 else "1,1,1,a" for number in range(16)]]
    manifest = run(write(tmp_path / "a.csv", rows), work, model=model, batch_rows=8)
    assert [item["row"] for item in errors(manifest)] == [6]
    assert model.rows == [8, 4, 4, 2, 1, 1, 2, 8]


@pytest.mark.parametrize("row_wise", [False, None])
def test_a_model_that_may_mix_rows_is_asked_row_by_row(tmp_path, work, row_wise):
    """What is planned holds: a run goes on as it began, whatever is loaded."""
    model = Adder()
    model.row_wise = row_wise
    file = write(tmp_path / "a.csv", LINES)
    made = plan(DISK, str(file), model)
    assert made.batch_rows == 1
    later = Adder()
    shards(made, work, model=later)
    assert later.rows == [1] * 60
    assert run(file, tmp_path / "other", model=model).batch_rows == 1
