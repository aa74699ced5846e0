"""Jobs and uploads over the whole app: a client's own, behind its key and its policy, and nobody else's."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time

import pytest

from modelserve.jobs import Job, to_item
from tests.local.releases import send

pytestmark = [
    pytest.mark.xdist_group("release"),
    pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program"),
]

ANSWER = b'{"model_name":"sturdy","outputs":[]}'


@pytest.fixture(scope="module")
def keys(release):
    """Of the client whose the job is, and of another one."""
    return {name: release.new_client(name, models=("sturdy",)) for name in ("owner", "stranger")}


@pytest.fixture
def ask(release, keys):
    def ask(method, path, body=b"", *, client="owner"):
        return send(release.url, method, path, body, {"Authorization": f"Bearer {keys[client]}"})

    return ask


@pytest.fixture
def job(release):
    """One that has succeeded, with its request and result."""
    now = int(time.time())
    found = Job(
        id="0123456789abcdef" * 2,
        client="owner",
        model="sturdy",
        priority="low",
        status="succeeded",
        created=now,
        updated=now,
        expiration=now + 3600,
        request="sturdy/owner/" + "0123456789abcdef" * 2 + "/request-0123456789abcdef",
        digest="0" * 64,
        result_size=len(ANSWER),
    )
    s3 = release.cloud.client("s3")
    release.cloud.client("dynamodb").put_item(TableName=release.outputs["JobTable"], Item=to_item(found))
    for key, body in ((found.request, b"{}"), (found.result, ANSWER)):
        s3.put_object(Bucket=release.outputs["JobBucket"], Key=key, Body=body)
    return found


def test_a_job_is_its_clients_until_it_deletes_it(release, ask, job):
    status, result = f"/v2/jobs/{job.id}", f"/v2/jobs/{job.id}/result"
    assert json.loads(ask("GET", status).body)["result_url"] == result
    assert ask("GET", result).body == ANSWER
    for method, path in (("GET", status), ("GET", result), ("DELETE", status)):
        theirs, never = (ask(method, each, client="stranger") for each in (path, path.replace(job.id, "f" * 32)))
        assert (theirs.status, theirs.body.replace(job.id.encode(), b"f" * 32)) == (404, never.body)

    assert ask("DELETE", status).status == 204

    assert [ask(method, path).status for method, path in (("GET", status), ("GET", result), ("DELETE", status))] == [404] * 3
    listed = release.cloud.client("s3").list_objects_v2(Bucket=release.outputs["JobBucket"], Prefix=f"sturdy/owner/{job.id}/")
    assert listed["KeyCount"] == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="it is curl that users will upload with")
def test_a_file_is_uploaded_by_curl_alone(release, ask, tmp_path):
    (tmp_path / "request").write_bytes(bytes(range(256)) * 40_000)  # more than a request may be
    answer = ask("POST", "/v2/uploads", b'{"size": 10240000}')
    assert answer.status == 201, answer.body
    upload = json.loads(answer.body)

    subprocess.run(["curl", "-fsS", "-T", tmp_path / "request", upload["url"]], check=True, timeout=30)

    kept = release.cloud.client("s3").get_object(Bucket=release.outputs["JobBucket"], Key=f"_uploads/owner/{upload['id']}")
    assert kept["Body"].read() == (tmp_path / "request").read_bytes()


@pytest.mark.parametrize(
    ("path", "allow"),
    [(f"/v2/jobs/{'0' * 32}", "GET, HEAD, DELETE"), (f"/v2/jobs/{'0' * 32}/result", "GET, HEAD"), ("/v2/uploads/", "POST")],
)
def test_a_clients_policy_lets_wrong_methods_through_to_be_told_the_right_ones(ask, path, allow):
    answer = ask("PUT", path)
    assert (answer.status, answer.headers["Allow"]) == (405, allow)


@pytest.mark.parametrize("path", ["/v2/models/private/v2/jobs/0", "/v2/models/private/v2/uploads", "/v2/models/private/jobs"])
def test_another_models_paths_stay_shut(ask, path):
    assert ask("POST", path).status == 403
