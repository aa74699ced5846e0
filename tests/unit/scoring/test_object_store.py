"""The same code on S3, as moto has it: objects instead of files, and their ETags instead of hashes."""

from __future__ import annotations

from pathlib import Path

import boto3
import orjson
import pytest
from pyarrow.fs import S3FileSystem

from scoring import FileChanged, FileUnreadable, begin, finish, plan, score
from tests.unit.scoring.factories import Adder, shards

HEADER = b"id,x_0,x_1,text\n"
MANY = HEADER + b"1,1,2,a\n" * 20_000


@pytest.fixture
def s3(moto_url):
    session = boto3.Session("local", "local", region_name="us-east-1")
    client = session.client("s3", endpoint_url=moto_url)
    client.create_bucket(Bucket="data-sets")
    yield client
    for item in client.list_objects_v2(Bucket="data-sets").get("Contents", ()):
        client.delete_object(Bucket="data-sets", Key=item["Key"])
    client.delete_bucket(Bucket="data-sets")


@pytest.fixture
def fs(moto_url):
    return S3FileSystem(access_key="local", secret_key="local", endpoint_override=moto_url, region="us-east-1")


@pytest.fixture
def requests(caplog):
    """Those that moto was sent since the last call."""
    caplog.set_level("INFO", "werkzeug")

    def sent():
        found = [record.getMessage() for record in caplog.records if record.name == "werkzeug"]
        caplog.clear()
        return found

    return sent


class Meanwhile(Adder):
    """A model in whose second run something else happens."""

    def __init__(self, happens):
        super().__init__()
        self.happens = happens

    def run(self, *arguments, **options):
        if len(self.rows) == 1:
            self.happens()
        return super().run(*arguments, **options)


def test_a_prefix_is_scored_to_another_one(s3, fs):
    for name, rows in (("a", b"1,1,2,a\n2,,2,b\n"), ("b", b"3,4,5,c\n")):
        s3.put_object(Bucket="data-sets", Key=f"in/{name}.csv", Body=HEADER + rows)
    made = plan(fs, "data-sets/in", Adder())
    assert [file.hash.partition(":")[0] for file in made.files] == ["etag", "etag"]
    started = begin(made, fs, "data-sets/out")
    assert begin(made, fs, "data-sets/out") == started
    shards(made, Path("data-sets/out"), fs=fs)
    finish(made, fs, "data-sets/out", "data-sets/out", started=started)
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket="data-sets", Prefix="out/")["Contents"]]
    assert keys == [
        "out/data/part-00000.csv",
        "out/data/part-00001.csv",
        "out/errors.jsonl",
        "out/errors/00000.jsonl",
        "out/manifest.json",
        "out/plan.json",
        "out/reports/00000.json",
        "out/reports/00001.json",
        "out/started.json",
    ]
    manifest = orjson.loads(s3.get_object(Bucket="data-sets", Key="out/manifest.json")["Body"].read())
    assert (manifest["rows"], manifest["bad"]) == (3, 1)
    s3.put_object(Bucket="data-sets", Key="in/b.csv", Body=HEADER + b"3,4,6,c\n")
    with pytest.raises(FileChanged, match="found etag:"):
        shards(made, Path("data-sets/again"), fs=fs)


def test_an_attempt_that_fails_late_leaves_what_another_has_finished(s3, fs):
    s3.put_object(Bucket="data-sets", Key="in/a.csv", Body=MANY + b"1,,2,a\n")
    made = plan(fs, "data-sets/in", Adder())
    started = begin(made, fs, "data-sets/out")

    def other():
        score(fs, made, made.shards[0], Adder(), fs, "data-sets/out")
        raise RuntimeError("out of time")

    with pytest.raises(RuntimeError, match="out of time"):
        score(fs, made, made.shards[0], Meanwhile(other), fs, "data-sets/out")
    manifest = finish(made, fs, "data-sets/out", "data-sets/out", started=started)
    body = s3.get_object(Bucket="data-sets", Key="out/data/part-00000.csv")["Body"].read()
    assert (manifest.parts[0].size, manifest.rows, manifest.bad) == (len(body), 20_001, 1)
    assert body.count(b"\n") == 20_002


def test_nothing_is_left_of_an_attempt_that_fails(s3, fs):
    s3.put_object(Bucket="data-sets", Key="in/a.csv", Body=HEADER + b"1,,2,a\n" + MANY.removeprefix(HEADER))
    made = plan(fs, "data-sets/in", Adder())

    def fails():
        raise RuntimeError("out of time")

    with pytest.raises(RuntimeError, match="out of time"):
        score(fs, made, made.shards[0], Meanwhile(fails), fs, "data-sets/out")
    assert "Contents" not in s3.list_objects_v2(Bucket="data-sets", Prefix="out/")


def test_an_object_that_is_replaced_while_it_is_read_is_noticed(s3, fs):
    s3.put_object(Bucket="data-sets", Key="in/a.csv", Body=MANY)
    made = plan(fs, "data-sets/in", Adder())
    model = Meanwhile(lambda: s3.put_object(Bucket="data-sets", Key="in/a.csv", Body=MANY.replace(b",1,", b",2,")))
    with pytest.raises(FileChanged, match="found etag:"):
        score(fs, made, made.shards[0], model, fs, "data-sets/out")
    assert "Contents" not in s3.list_objects_v2(Bucket="data-sets", Prefix="out/")


def test_a_file_or_shard_takes_a_few_requests(s3, fs, requests):
    """Ten thousand of either are more than any number that is multiplied by a store's delay."""
    for number in range(12):
        s3.put_object(Bucket="data-sets", Key=f"in/{number:02}.csv", Body=HEADER + b"1,1,2,a\n2,,2,b\n")
    requests()
    made = plan(fs, "data-sets/in", Adder())
    assert len(requests()) <= 12 * 2 + 3
    started = begin(made, fs, "data-sets/out")
    shards(made, Path("data-sets/out"), fs=fs)
    requests()
    assert finish(made, fs, "data-sets/out", "data-sets/out", started=started).bad == 12
    assert len(requests()) <= 12 * 4 + 8


@pytest.mark.parametrize("key", ["in//a.csv", "in/../a.csv", "in/./a.csv"])
def test_a_key_that_is_no_path_is_refused(s3, fs, key):
    s3.put_object(Bucket="data-sets", Key="in//a.csv", Body=HEADER)
    with pytest.raises(FileUnreadable, match="give it another name"):
        plan(fs, f"data-sets/{key}", Adder())
    with pytest.raises(FileUnreadable, match=r"in//a\.csv has an empty part"):
        plan(fs, "data-sets/in", Adder())
