"""Jobs and predictions of services: each is run once and told, whatever is beside it and whatever happens to its worker."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modelserve import worker
from modelserve.batching import MOST_BYTES
from modelserve.errors import DeadlineExceeded, InsufficientMemory
from modelserve.jobs import Job, upload_key
from modelserve.manifest import alias_key
from tests.unit.modelserve.graphs import scaled

from .works import ATTEMPTS, NAMES, World, body_of, delivered, runs, spoil, work


class Killed(BaseException):
    """What ends the process: nothing catches it."""


@pytest.fixture(scope="module")
def world(moto_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    found = World(moto_url, tmp_path_factory.mktemp("works"))
    yield found
    found.close()


@pytest.fixture(autouse=True)
def silence(world: World) -> None:
    world.told()


def test_a_batch_of_jobs_is_one_run_and_each_has_its_own_answer(world):
    app, jobs = world.app(), [world.submit([number, number + 1]) for number in (1, 10, 20)]
    assert work(app, delivered(*jobs)) == []
    assert runs(app) == [[1, 2, 10, 11, 20, 21]]
    assert [world.result(job) for job in jobs] == [[2.0] * 3 + [4.0] * 3, [20.0] * 3 + [22.0] * 3, [40.0] * 3 + [42.0] * 3]


def test_what_is_kept_and_told_of_a_job(world):
    job = world.submit(body_of([1], id="mine"))
    work(world.app(), delivered(job))
    found = world.job(job)
    assert (found.status, found.attempts, found.result_header_length, found.error) == ("succeeded", 1, None, None)
    assert found.result_size == len(world.s3.get_object(Bucket=NAMES["JOB_BUCKET"], Key=job.result)["Body"].read())
    assert world.told() == [
        (
            "Job Succeeded",
            {
                "id": job.id,
                "client": "shop",
                "model_name": "sample",
                "model_version": found.model_version,
                "status": "succeeded",
                "created": job.created,
                "finished": found.updated,
                "status_url": f"/v2/jobs/{job.id}",
            },
        )
    ]


def test_a_binary_answer_is_kept_with_the_length_of_its_header(world):
    job = world.submit(body_of([1], parameters={"binary_data_output": True}))
    work(world.app(), delivered(job))
    body, length = world.s3.get_object(Bucket=NAMES["JOB_BUCKET"], Key=job.result)["Body"].read(), world.job(job).result_header_length
    assert json.loads(body[:length])["outputs"][0]["parameters"] == {"binary_data_size": 12}
    assert len(body) == length + 12


def test_a_callers_mistake_is_an_answer_and_disturbs_nobody(world):
    good, bad, worse = world.submit([1]), world.submit(b'{"inputs": 5}'), world.submit(body_of([1]).replace(b'"x"', b'"z"'))
    other, old = world.submit([3], model="other"), world.submit([3], version="nightly")
    app = world.app()
    assert work(app, delivered(good, bad, worse, other, old)) == []
    found = [world.job(job) for job in (bad, worse, other, old)]
    assert [(job.status, job.error_status) for job in found] == [("failed", 400), ("failed", 400), ("failed", 404), ("failed", 404)]
    assert "there is no input 'z'" in found[1].error
    assert (world.status(good), runs(app)) == ("succeeded", [[1]])
    told = {detail["id"]: (kind, detail.get("error")) for kind, detail in world.told()}
    assert told[worse.id] == ("Job Failed", {"status": 400, "message": found[1].error})
    assert told[good.id] == ("Job Succeeded", None)


def worked_off(app: Any, batches: list[dict[str, Any]]) -> list[int]:
    return [each for batch in batches for each in work(app, batch)]


def test_the_same_message_a_hundred_times_at_once_runs_once(world):
    """Four workers, each with batches of ten; those that come while it runs come back later, and find it done."""
    job = world.submit([7])
    apps = [world.app() for _ in range(4)]
    for app in apps:
        work(app, delivered(world.submit([1])))  # has its model
        runs(app).clear()
        spoil(app, lambda _: time.sleep(0.2))
    left = 100
    while left:
        batches = [delivered(job, copies=min(10, left - start)) for start in range(0, left, 10)]
        with ThreadPoolExecutor(4) as pool:  # an environment has one batch at a time
            failed = list(pool.map(worked_off, apps, [batches[number::4] for number in range(4)]))
        left = sum(map(len, failed))
    assert [run for app in apps for run in runs(app)] == [[7]]
    assert (world.status(job), world.job(job).attempts) == ("succeeded", 1)
    assert Counter(detail["id"] for _, detail in world.told())[job.id] == 1


def test_a_job_that_another_worker_runs_comes_back(world):
    job = world.submit([1])
    app = world.app()
    records = app._worker._once
    records.begin(f"job {job.id}", seconds=60)
    assert work(app, delivered(job)) == [0]
    assert (world.job(job).attempts, runs(app)) == (0, [])


def test_a_deleted_job_is_dropped_and_what_is_asked_again_under_its_id_runs(world):
    job = world.submit([1])
    world.table.delete(job.id)
    app = world.app()
    assert work(app, delivered(job)) == []
    assert (runs(app), world.told()) == ([], [])
    world.submit([2], id=job.id, request=job.request)
    assert work(app, delivered(job)) == []
    assert world.status(job) == "succeeded"


def test_a_job_that_was_done_deleted_and_sent_again_runs_again(world):
    job = world.submit([1])
    app = world.app()
    work(app, delivered(job))
    world.table.delete(job.id)
    again = world.submit([2], id=job.id, request=job.request)
    assert work(app, delivered(job)) == []
    assert world.result(again) == [4.0] * 3


def test_of_two_workers_that_find_a_job_open_again_one_runs_it(world):
    """The other one has looked before and tries to take what is no longer done."""
    job = world.submit([1])
    first, second = world.app(), world.app()
    first._worker._once.begin(f"job {job.id}", seconds=60)
    first._worker._once.done(f"job {job.id}")
    reopen = second._worker._once.reopen
    late: list[str] = []

    def between(key: str) -> None:
        def begin(_: list[float]) -> None:
            reopen(key)
            late.append(second._worker._once.begin(key, seconds=60))

        spoil(first, begin)
        assert work(first, delivered(job)) == []

    second._worker._once.reopen = between
    assert work(second, delivered(job)) == []
    assert (late, runs(first), runs(second), world.job(job).attempts) == (["busy"], [[1]], [], 1)


def test_a_job_that_is_deleted_while_it_runs_leaves_no_result(world):
    job = world.submit([1])
    app = world.app()
    spoil(app, lambda _: world.table.delete(job.id))
    assert work(app, delivered(job)) == []
    assert (world.status(job), world.told()) == ("gone", [])
    assert "Contents" not in world.s3.list_objects_v2(Bucket=NAMES["JOB_BUCKET"], Prefix=job.result)


def test_a_job_is_never_answered_for_another_that_had_its_id(world):
    """One client used an Idempotency-Key, deleted the job while it ran, and used the key again for another request."""
    old = world.submit([1])
    new = {"id": old.id, "request": f"{old.request}-new", "digest": "f" * 64}
    app = world.app()
    asked: list[Job] = []

    def ask_anew(_: list[float]) -> None:
        if not asked:
            world.table.delete(old.id)
            asked.append(world.submit([50], **new))

    spoil(app, ask_anew)
    assert work(app, delivered(old)) == []
    assert (world.status(asked[0]), world.told()) == ("queued", [])
    assert "Contents" not in world.s3.list_objects_v2(Bucket=NAMES["JOB_BUCKET"], Prefix=old.result)
    assert work(app, delivered(asked[0])) == []
    assert (world.status(asked[0]), world.result(asked[0])) == ("succeeded", [100.0] * 3)


def test_a_request_that_is_no_longer_there_fails_the_job(world):
    job = world.submit([1], request=upload_key("shop", "f" * 32))
    world.s3.delete_object(Bucket=NAMES["JOB_BUCKET"], Key=job.request)
    assert work(world.app(), delivered(job)) == []
    assert (world.job(job).error_status, "no longer kept" in world.job(job).error) == (400, True)


def test_json_that_can_not_be_read_within_the_memory_is_refused_unread(world):
    rows = body_of([1])
    raw = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[9,3],"parameters":{"binary_data_size":108}}]}'
    text, deep = world.submit(body_of(range(99))), world.submit(b"[" * 5000)
    short, binary = world.submit(rows), world.submit(raw + bytes(108), header_length=len(raw))
    app = world.app(max_json_bytes=max(len(rows), len(raw)))
    assert work(app, delivered(text, deep, short, binary)) == []
    assert [world.status(job) for job in (short, binary)] == ["succeeded"] * 2
    assert [world.job(job).error_status for job in (text, deep)] == [413] * 2
    assert "send numbers as binary data" in world.job(text).error


def test_what_may_pass_by_is_tried_again_and_told_at_the_end(world):
    job, other = world.submit([1]), world.submit([1], version="production")
    app = world.app()

    def refuse(_: list[float]) -> None:
        raise InsufficientMemory("sample")

    spoil(app, refuse)
    for receives in range(1, ATTEMPTS):
        assert work(app, delivered(job, other, receives=receives)) == [0, 1]
        assert (world.status(job), world.told()) == ("running", [])
    assert work(app, delivered(job, other, receives=ATTEMPTS)) == [0, 1]
    found = world.job(job)
    assert (found.status, found.error_status, found.attempts) == ("failed", 500, ATTEMPTS)
    assert found.error.startswith("gave up after 3 attempts; the job waits in the dead-letter queue: model 'sample' needs more memory")
    assert sorted(detail["id"] for kind, detail in world.told() if kind == "Job Failed") == sorted([job.id, other.id])


def test_a_redriven_job_runs_again(world):
    job = world.submit([1], status="failed", error="gave up", error_status=500, attempts=ATTEMPTS)
    assert work(world.app(), delivered(job)) == []
    assert (world.job(job).status, world.job(job).error) == ("succeeded", None)


@pytest.mark.parametrize("body", ["no JSON", "[]", "{}", '{"job": "x"}', '{"id": "1", "model": "sample"}', '{"id": 1, "request": {}}'])
def test_a_message_that_can_not_be_read_is_never_swallowed(world, body):
    job = world.submit([1])
    assert work(world.app(), delivered(body, job)) == [0]
    assert world.status(job) == "succeeded"


def test_nothing_is_begun_that_may_not_end_in_time(world):
    """A message that came back unbegun is no attempt; at its last delivery its client is told."""
    job = world.submit([1])
    app = world.app()
    assert work(app, delivered(job), milliseconds=4000) == [0]
    assert (world.job(job).attempts, world.status(job), runs(app)) == (0, "queued", [])
    assert work(app, delivered(job, receives=ATTEMPTS), milliseconds=4000) == [0]
    assert (world.job(job).attempts, world.status(job)) == (0, "failed")


def test_a_large_body_runs_alone_however_little_is_asked_in_it(world):
    """It is kept whole until its run has ended, so that no two are."""
    app = world.app()
    large = [world.submit(body_of([number], parameters={"note": "n" * MOST_BYTES})) for number in (3, 4)]
    jobs = [large[0], world.submit([1]), large[1], world.submit([2])]
    assert work(app, delivered(*jobs)) == []
    assert runs(app) == [[3], [4], [1, 2]]
    assert [world.result(job)[0] for job in jobs] == [6, 2, 8, 4]


def test_a_slow_model_takes_no_time_of_another_one(world, monkeypatch):
    """Where both have come before, each may take half; the slow one that comes alone again has what the others leave."""
    monkeypatch.setattr(worker, "_LEAST_SECONDS", 0.5)
    app = world.app(model_names=("sample", "slow"))
    pool, given = app._worker._models, []

    def model(name: str, version: str | None = None) -> Any:
        found = type(pool).model(pool, "sample", version)
        if name == "slow":

            def endless(_inputs: Any, _outputs: Any, *, seconds: float) -> Any:
                given.append(seconds)
                time.sleep(seconds)
                raise DeadlineExceeded(name, seconds)

            found.__dict__["run"] = endless
        return found

    pool.model = model
    slow, quick, later = world.submit([9], model="slow"), world.submit([2]), world.submit([3])
    assert work(app, delivered(slow, quick, receives=ATTEMPTS - 1), milliseconds=4000) == [0]
    assert [world.status(each) for each in (slow, quick)] == ["running", "succeeded"]
    event = delivered(slow, later, receives=1)
    event["Records"][0]["attributes"] = {**event["Records"][0]["attributes"], "ApproximateReceiveCount": "2"}
    assert work(app, event, milliseconds=4000) == [0]
    half, whole = given
    assert half <= 1 < whole < 2


def test_what_is_slow_leaves_the_rest_to_another_batch(world):
    slow, *jobs = (world.submit([number]) for number in range(3))
    app = world.app()
    interrupt(world, app, slow, *jobs)
    spoil(app, lambda rows: time.sleep(2) if rows == [0] else None)
    assert work(app, delivered(slow, *jobs, receives=2), milliseconds=8500) == [1, 2]
    assert [world.status(job) for job in (slow, *jobs)] == ["succeeded", "queued", "queued"]


def interrupt(world: World, app: Any, *jobs: Job) -> None:
    """A worker died while it had them."""
    for job in jobs:
        app._worker._once.begin(f"job {job.id}", seconds=1)
    world.time_passes()


def test_what_was_being_run_when_a_process_ended_runs_alone_and_last(world):
    jobs = [world.submit([number]) for number in (1, 2, 3, 4)]
    app = world.app()
    interrupt(world, app, jobs[1])
    interrupt(world, app, jobs[0])
    work(app, delivered(*jobs, receives=2))
    assert runs(app) == [[3, 4], [2], [1]]  # the one that was not begun for the longest time is the least suspicious


def killer(rows: list[float]) -> None:
    if 13 in rows:
        raise Killed


def drained(world: World, jobs: list[Job]) -> tuple[Counter[str], list[Job]]:
    """As a queue delivers what is left, in any order, to a worker that is new after each death; how often each came, and the DLQ."""
    left, times, dead = list(jobs), Counter[str](), []
    chance = random.Random(1)
    while left:
        dead += [job for job in left if times[job.id] == ATTEMPTS]
        left = [job for job in left if times[job.id] < ATTEMPTS]
        chance.shuffle(left)
        times.update(job.id for job in left)
        event = delivered(*left)
        for job, record in zip(left, event["Records"], strict=True):
            record["attributes"] = {**record["attributes"], "ApproximateReceiveCount": str(times[job.id])}
        app = world.app()
        spoil(app, killer)
        try:
            left = [left[number] for number in work(app, event)]
        except Killed:
            world.time_passes()  # the visibility timeout is longer than any attempt
    return times, dead


def test_one_that_ends_the_process_takes_no_neighbour_with_it(world):
    jobs = [world.submit([number]) for number in range(9)]
    poison = world.submit([13])
    times, dead = drained(world, [*jobs, poison])
    assert dead == [poison]
    assert times[poison.id] == ATTEMPTS
    assert [world.status(job) for job in jobs] == ["succeeded"] * 9
    found = world.job(poison)
    assert (found.status, found.error_status) == ("failed", 500)
    assert "each run by model 'sample' was interrupted" in found.error
    last = {detail["id"]: kind for kind, detail in world.told()}  # one that nobody had run by the last delivery was given up before it ran
    assert last == {**{job.id: "Job Succeeded" for job in jobs}, poison.id: "Job Failed"}


@pytest.mark.parametrize("poisons", [1, 3])
def test_whoever_ends_the_process_nobody_waits_untold(world, poisons):
    """Three of which each takes a delivery: what is not yet run by the last one is told as failed, and can be redriven."""
    fatal, good = [world.submit([13, number]) for number in range(poisons)], world.submit([1])
    for receives in range(1, ATTEMPTS + 1):
        app = world.app()
        spoil(app, killer)
        try:
            work(app, delivered(*fatal, good, receives=receives))
        except Killed:
            world.time_passes()
    assert {world.status(job) for job in fatal} == {"failed"}
    # Of those that were interrupted at the same moment any may be the first to run alone: with three before it there may be no turn left.
    assert (world.status(good), world.job(good).error_status) in [("succeeded", None), ("failed", 500)][: 1 if poisons == 1 else 2]
    last = {detail["id"]: (kind, detail["status"]) for kind, detail in world.told()}
    assert last == {job.id: (f"Job {world.status(job).capitalize()}", world.status(job)) for job in (*fatal, good)}
    if world.status(good) == "failed":
        assert "gave up after 3 attempts" in world.job(good).error
        assert (work(world.app(), delivered(good)), world.status(good), world.job(good).error) == ([], "succeeded", None)


def test_what_runs_at_its_last_delivery_after_all_is_told_to_have_succeeded(world):
    good, mistaken, poison = world.submit([1]), world.submit(b"{}"), world.submit([13])
    app = world.app()
    interrupt(world, app, good, mistaken, poison)
    seen = []

    def watch(rows: list[float]) -> None:
        seen.append([world.status(job) for job in (good, mistaken, poison)])
        killer(rows)

    spoil(app, watch)
    with pytest.raises(Killed):
        work(app, delivered(good, mistaken, poison, receives=ATTEMPTS))
    assert seen == [["failed"] * 3, ["succeeded", "failed", "failed"]]
    assert [world.job(job).error_status for job in (good, mistaken, poison)] == [None, 400, 500]
    told = [kind for kind, detail in world.told() if detail["id"] == good.id]
    assert told == ["Job Failed", "Job Succeeded"]


def test_what_was_interrupted_alone_runs_after_what_was_not(world):
    jobs = [world.submit([number]) for number in (1, 2, 3)]
    app = world.app()
    app._worker._once.begin(f"job {jobs[0].id}", seconds=1, alone=True)
    world.time_passes()
    interrupt(world, app, jobs[1], jobs[2])
    work(app, delivered(*jobs, receives=2))
    assert runs(app) == [[2], [3], [1]]


def test_a_service_whose_message_ends_the_process_is_told(world):
    message = asked("a-9", request=json.loads(body_of([13])))
    for receives in range(1, ATTEMPTS + 1):
        app = world.app()
        spoil(app, killer)
        try:
            assert work(app, delivered(message, receives=receives)) == [0]
            assert receives == ATTEMPTS
        except Killed:
            world.time_passes()
    ((kind, detail),) = world.told()
    assert (kind, detail["id"], detail["status"]) == ("Prediction Failed", "a-9", 500)
    assert "was interrupted" in detail["error"]


STEPS = ("table.start", "table.finish", "bucket.read", "bucket.replace", "tell", "once.begin", "once.done")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_a_death_between_any_two_steps_leaves_one_result(world, step, after):
    """The next delivery ends what the first began; only what tells of it may come twice."""
    job = world.submit([5])
    app = world.app()
    places, once = app._worker._places, app._worker._once
    owner, name = (
        {"table": places.table, "bucket": places.bucket, "once": once, "tell": places}[step.partition(".")[0]],
        step.split(".")[-1],
    )
    with pytest.MonkeyPatch.context() as patch:
        whole = getattr(owner, name)

        def dies(*args: Any, **kwargs: Any) -> Any:
            if after:
                whole(*args, **kwargs)
            raise Killed

        patch.setattr(type(owner), name, lambda _self, *args, **kwargs: dies(*args, **kwargs))
        with pytest.raises(Killed):
            work(app, delivered(job))
    world.time_passes()
    again = world.app()
    assert work(again, delivered(job, receives=2)) == []
    assert (world.status(job), world.result(job)) == ("succeeded", [10.0] * 3)
    assert len(runs(app)) + len(runs(again)) <= 2
    kinds = [kind for kind, detail in world.told() if detail["id"] == job.id]
    assert kinds in (["Job Succeeded"], ["Job Succeeded"] * 2)
    third = world.app()
    assert (work(third, delivered(job, receives=3)), runs(third), world.told()) == ([], [], [])


def test_a_promotion_between_two_attempts_leaves_one_answer_and_its_version(world, tmp_path):
    job = world.submit([1])
    app = world.app()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(app._worker._places.table), "finish", _die)
        with pytest.raises(Killed):
            work(app, delivered(job))
    before = world.s3.get_object(Bucket=NAMES["MODEL_BUCKET"], Key=alias_key("sample", "production"))["Body"].read()
    version = world.release(tmp_path, scaled(4))
    world.time_passes()
    work(world.app(), delivered(job, receives=2))
    world.s3.put_object(Bucket=NAMES["MODEL_BUCKET"], Key=alias_key("sample", "production"), Body=before)
    assert (world.job(job).model_version, world.result(job)) == (version, [4.0] * 3)


def _die(*_: Any, **__: Any) -> None:
    raise Killed


def asked(identity: str, **keys: Any) -> dict[str, Any]:
    return {"id": identity, "model": "sample", **keys}


def test_what_a_service_asks_is_answered_by_an_event(world):
    assert work(world.app(), delivered(asked("a-1", request=json.loads(body_of([1]))))) == []
    ((kind, detail),) = world.told()
    assert (kind, detail["id"], detail["model_name"]) == ("Prediction Made", "a-1", "sample")
    assert detail["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [1, 3], "data": [2.0] * 3}]


def test_a_service_is_answered_once_for_an_event_and_told_of_its_mistake(world):
    app = world.app()
    good, bad = asked("a-2", request=json.loads(body_of([1]))), asked("a-3", request={"inputs": []})
    assert work(app, delivered(good, bad, good)) == []
    assert work(app, delivered(good, bad)) == []
    assert sorted((kind, detail["id"]) for kind, detail in world.told()) == [("Prediction Failed", "a-3"), ("Prediction Made", "a-2")]
    assert runs(app) == [[1]]


def test_two_doors_are_both_told_of_the_same_event(world):
    request = json.loads(body_of([1]))
    doors = [asked("a-8", request=request, door=door) for door in ("first", "second")]
    assert work(world.app(), delivered(*doors, doors[0])) == []
    assert sorted(detail["door"] for _, detail in world.told()) == ["first", "second"]


def test_jobs_and_services_run_together(world):
    app = world.app()
    job = world.submit([1])
    assert work(app, delivered(job, asked("a-4", request=json.loads(body_of([2]))))) == []
    assert runs(app) == [[1, 2]]


def test_an_object_is_read_in_the_version_that_is_named(world):
    world.s3.create_bucket(Bucket="works-elsewhere")
    world.s3.put_bucket_versioning(Bucket="works-elsewhere", VersioningConfiguration={"Status": "Enabled"})
    put = [world.s3.put_object(Bucket="works-elsewhere", Key="a b/ü.json", Body=body_of([number])) for number in (1, 2)]
    place = {"bucket": "works-elsewhere", "key": "a b/ü.json"}
    named = asked("a-5", object={**place, "version_id": put[0]["VersionId"]})
    gone = asked("a-7", object={**place, "key": "gone.json"})
    assert work(world.app(), delivered(named, asked("a-6", object=place), gone)) == []
    found = {detail["id"]: detail for _, detail in world.told()}
    assert [found[name]["outputs"][0]["data"][0] for name in ("a-5", "a-6")] == [2, 4]
    assert [found[name]["object"]["key"] for name in ("a-6", "a-7")] == ["a b/ü.json", "gone.json"]
    assert "no longer kept" in found["a-7"]["error"]


def test_an_answer_too_large_for_an_event_is_in_the_bucket(world):
    rows = [0.123456 + number for number in range(9000)]
    assert work(world.app(), delivered(asked("a-8", request=json.loads(body_of(rows))))) == []
    ((_, detail),) = world.told()
    assert "outputs" not in detail
    place = detail["result"]
    assert (place["bucket"], place["key"].startswith("sample/-/")) == (NAMES["JOB_BUCKET"], True)
    body = world.s3.get_object(Bucket=place["bucket"], Key=place["key"])["Body"].read()
    assert len(json.loads(body)["outputs"][0]["data"]) == 27_000


def test_no_job_is_taken_for_an_event_of_the_same_name(world):
    """Whoever may send events names them."""
    job = world.submit([1])
    work(world.app(), delivered(asked(job.id, request=json.loads(body_of([3])))))
    assert world.status(job) == "queued"
    assert work(world.app(), delivered(job)) == []
    assert world.status(job) == "succeeded"


def test_records_of_what_is_done_are_not_jobs(world):
    records = world.app()._worker._once
    assert records.begin("k", seconds=1) == "ours"
    assert (records.begin("k", seconds=1), records.interrupted("k"), records.interrupted("never")) == ("busy", None, None)
    time.sleep(1.1)
    first = records.interrupted("k")
    assert not first.alone
    assert records.begin("k", seconds=0.1, alone=True) == "ours"
    time.sleep(0.2)
    second = records.interrupted("k")
    assert second.alone
    assert first.until < second.until < time.time()
    assert records.begin("k", seconds=9) == "ours"
    records.done("k")
    assert (records.begin("k", seconds=1), records.interrupted("k")) == ("done", None)
    records.forget("k")
    assert records.begin("k", seconds=1) == "ours"
    ids = [item["id"]["S"] for item in world.dynamodb.scan(TableName=NAMES["JOB_TABLE"])["Items"] if "in_progress_expiration" in item]
    assert ids
    assert all(each.startswith("work#") for each in ids)
