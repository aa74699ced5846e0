"""What goes wrong in the store, on the way to it, or at the caller: always an answer, and never a wrong one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest

from modelserve.manifest import Alias, version_prefix
from modelserve.record import replace
from tests.local.releases import BREAKABLE, UNREACHABLE, Served, call, eventually, request, result
from tests.unit.modelserve.factories import error_of
from tests.unit.modelserve.graphs import scaled

pytestmark = [
    pytest.mark.xdist_group("release"),
    pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program"),
]


def other_bytes(model: Served, alias: Alias, body: bytes) -> bytes:
    """The alias with the VersionId of other bytes under the same key, as somebody would write it who can write to the bucket."""
    stored = model.s3.put_object(Bucket=model.bucket, Key=alias.model.path, Body=body)
    return replace(alias, model=replace(alias.model, version_id=stored["VersionId"])).to_json()


def altered(model: Served, alias: Alias) -> bytes:
    return other_bytes(model, alias, scaled(666.0))


def truncated(model: Served, alias: Alias) -> bytes:
    return other_bytes(model, alias, scaled(3.0)[:-1])


def deleted(model: Served, alias: Alias) -> bytes:
    model.s3.delete_object(Bucket=model.bucket, Key=alias.model.path, VersionId=alias.model.version_id)
    return alias.to_json()


def relabelled(model: Served, alias: Alias) -> bytes:
    """Labels are served from the manifest, so that it is as dangerous as the bytes."""
    changed = replace(model.registry.manifest(model.name, alias.version), labels=("yes", "no"))
    key = version_prefix(model.name, alias.version) + "manifest.json"
    model.s3.put_object(Bucket=model.bucket, Key=key, Body=changed.to_json())
    return alias.to_json()


def foreign(model: Served, alias: Alias) -> bytes:
    return replace(alias, name="sturdy").to_json()


def garbled(model: Served, alias: Alias) -> bytes:
    return alias.to_json()[:40]


DAMAGES: dict[str, tuple[Callable[[Served, Alias], bytes], str]] = {
    "altered": (altered, "is not what was published: found models/altered/"),
    "truncated": (truncated, "is not what was published: found models/truncated/"),
    "deleted": (deleted, "no object"),
    "relabelled": (relabelled, "is not what was published: found SHA-256"),
    "foreign": (foreign, "of 'sturdy' to"),
    "garbled": (garbled, "found a document that can't be read"),
}
"""What is done to the store, and how the function names it: by hash or manifest, before anything is made of the bytes."""


@pytest.mark.parametrize("name", BREAKABLE)
def test_a_damaged_version_is_refused_cold_and_the_old_one_kept_warm(served, name):
    model = served(name)
    left = model.files
    good, bad = model.alias_of(model.publish_scaled(2.0)), model.alias_of(model.publish_scaled(3.0))
    damage, reason = DAMAGES[name]
    damaged = damage(model, bad)

    model.write_alias(damaged)
    refusal = error_of(model.predict(), 503)
    assert reason in refusal
    assert (f"run: modelctl promote {name} " if damage in {foreign, garbled} else "publish the model again") in refusal

    model.write_alias(good.to_json())
    assert result(eventually(model.predict, lambda answer: answer.status == 200)) == (good.version, 2.0)

    model.write_alias(damaged)
    assert [result(model.predict()) for _ in range(3)] == [(good.version, 2.0)] * 3
    assert any(reason in line.get("message", "") for line in model.log if line.get("location") == "loader")
    assert (model.processes, model.files) == (1, left)


def test_bytes_written_over_a_version_are_not_what_it_serves(served):
    """The alias names the VersionId."""
    model = served("overwritten")
    alias = model.alias_of(model.publish_scaled(2.0))
    other_bytes(model, alias, scaled(666.0))
    model.promote(alias.version)
    assert result(model.predict()) == (alias.version, 2.0)


def test_a_store_that_does_not_answer_is_a_503_and_no_crash(served, release):
    model = served(UNREACHABLE)
    for _ in range(2):
        assert "`modelctl doctor`" in error_of(model.predict(), 503)
    assert "`modelctl doctor`" in error_of(call(release, "GET", f"/v2/models/{UNREACHABLE}/ready"), 503)
    assert model.processes == 1


@pytest.fixture(scope="module")
def sturdy(release, tmp_path_factory):
    """A model that answers."""
    model = Served(release, "sturdy", tmp_path_factory.mktemp("sturdy"))
    model.release_scaled(2.0)
    return model


def test_another_service_invokes_the_function_with_a_plain_request(sturdy):
    answer = sturdy.invoke(request(rows=2))
    assert answer["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [2, 3], "data": [2.0, 4.0, 6.0] * 2}]


def test_another_service_sees_an_invalid_request_fail_by_its_name(sturdy):
    wrong = json.loads(request())
    wrong["inputs"][0]["shape"] = [3]
    answer = sturdy.invoke(json.dumps(wrong).encode())
    assert answer["errorType"] == "InvalidInput"
    assert "over HTTP" in answer["errorMessage"]  # the runtime logs what is raised, so that it quotes nothing
    assert sturdy.invoke(b'{"inputs": []}')["errorType"] == "InvalidRequest"
    assert result(sturdy.predict())[1] == 2.0
