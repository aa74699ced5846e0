"""The same code on S3, as moto has it: objects instead of files, and their ETags instead of hashes."""

from __future__ import annotations

from pathlib import Path

import boto3
import orjson
import pytest
from pyarrow.fs import S3FileSystem

from scoring import FileChanged, begin, finish, plan
from tests.unit.scoring.factories import Adder, shards

HEADER = b"id,x_0,x_1,text\n"


@pytest.fixture
def s3(moto_url):
    session = boto3.Session("local", "local", region_name="us-east-1")
    client = session.client("s3", endpoint_url=moto_url)
    client.create_bucket(Bucket="data-sets")
    yield client
    for item in client.list_objects_v2(Bucket="data-sets").get("Contents", ()):
        client.delete_object(Bucket="data-sets", Key=item["Key"])
    client.delete_bucket(Bucket="data-sets")


def test_a_prefix_is_scored_to_another_one(s3, moto_url):
    for name, rows in (("a", b"1,1,2,a\n2,,2,b\n"), ("b", b"3,4,5,c\n")):
        s3.put_object(Bucket="data-sets", Key=f"in/{name}.csv", Body=HEADER + rows)
    fs = S3FileSystem(access_key="local", secret_key="local", endpoint_override=moto_url, region="us-east-1")
    made = plan(fs, "data-sets/in", Adder())
    assert [file.hash.partition(":")[0] for file in made.files] == ["etag", "etag"]
    started = begin(made, fs, "data-sets/out")
    assert begin(made, fs, "data-sets/out") == started
    shards(made, Path("data-sets/out"), fs=fs)
    finish(made, None, fs, "data-sets/out", "data-sets/out", started=started)
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
