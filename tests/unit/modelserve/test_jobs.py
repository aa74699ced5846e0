"""What is kept of a job: its item, which is read whoever wrote it, and who may change it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelserve.aws import JsonService, ServiceUnavailable
from modelserve.jobs import NOBODY, Job, JobTable, UnreadableJob, from_item, is_id, job_key, message, send, status_url, to_item, upload_key
from modelserve.record import replace

NOW = 1_795_000_000
ID = "0123456789abcdef" * 2
HEX = "0123456789abcdef"
NUMBERS = st.integers(0, 10**14)
MAYBE = st.none() | NUMBERS
JOBS = st.builds(
    Job,
    id=st.text(HEX, min_size=32, max_size=32),
    client=st.just(NOBODY) | st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True),
    model=st.from_regex(r"[a-z][a-z0-9_]{0,47}", fullmatch=True),
    priority=st.sampled_from(["high", "low"]),
    status=st.sampled_from(["queued", "running", "succeeded", "failed"]),
    created=NUMBERS,
    updated=NUMBERS,
    expiration=NUMBERS,
    request=st.text(),
    digest=st.text(HEX, min_size=64, max_size=64),
    attempts=NUMBERS,
    version=st.none() | st.text(),
    header_length=MAYBE,
    error=st.none() | st.text(),
    error_status=MAYBE,
    result_size=MAYBE,
    result_header_length=MAYBE,
    model_version=st.none() | st.text(),
)


def a_job(**other: Any) -> Job:
    fields: dict[str, Any] = {"id": ID, "client": "shop", "model": "fruit", "priority": "low", "created": NOW, "updated": NOW}
    return Job(**fields | {"expiration": NOW + 100, "request": f"fruit/shop/{ID}/request", "digest": "f" * 64} | other)


# The item


@given(JOBS)
def test_what_is_written_is_read(job):
    item = to_item(job)

    assert from_item(json.loads(json.dumps(item))) == job
    assert all(isinstance(value, str) for attribute in item.values() for value in attribute.values())


@given(JOBS)
def test_attributes_of_other_names_are_left_out(job):
    assert from_item(to_item(job) | {"validation": {"S": "x"}, "data": {"M": {}}}) == job


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)
ATTRIBUTES = JSON | st.dictionaries(st.sampled_from(["S", "N", "M", "BOOL"]), JSON, max_size=2)


@given(JOBS, st.dictionaries(st.sampled_from(sorted(Job.__annotations__)), ATTRIBUTES, min_size=1))
def test_a_record_that_somebody_else_wrote_is_read_or_refused(job, changes):
    """Whatever is in it, there is a job of the forms that ours have, or the one error."""
    try:
        found = from_item(to_item(job) | changes)
    except UnreadableJob:
        return
    assert from_item(to_item(found)) == found
    assert is_id(found.id)


@pytest.mark.parametrize("item", [None, [], "x", 5, {}, {"id": {"S": ID}}, {"id": ID}, {"id": {"S": 5}}])
def test_what_is_no_job_is_refused(item):
    with pytest.raises(UnreadableJob):
        from_item(item)


@pytest.mark.parametrize("name", [name for name, kind in Job.__annotations__.items() if "None" not in kind and not hasattr(Job, name)])
def test_a_job_that_lacks_something_is_refused(name):
    item = to_item(a_job())
    del item[name]

    with pytest.raises(UnreadableJob, match=ID if name != "id" else "job ''"):
        from_item(item)


WRONG = [("id", ID.upper()), ("id", f"{ID}\n"), ("client", "Shop"), ("client", "a/b"), ("client", ""), ("model", "_uploads")]
WRONG += [("model", "../fruit"), ("priority", "urgent"), ("status", "done"), ("digest", "f" * 63)]


@pytest.mark.parametrize(("name", "text"), WRONG)
def test_a_name_that_could_lead_elsewhere_is_refused(name, text):
    with pytest.raises(UnreadableJob):
        from_item(to_item(a_job()) | {name: {"S": text}})


@pytest.mark.parametrize("number", ["-1", "1.5", "1e9", "٣", "", " 1", "9" * 16, 5, None])
def test_a_number_of_another_form_is_refused(number):
    with pytest.raises(UnreadableJob):
        from_item(to_item(a_job()) | {"attempts": {"N": number}})


@pytest.mark.parametrize("text", ["", "x" * 32, ID[:-1], ID + "0", ID.upper(), ID + "\n", "../" + ID])
def test_an_id_is_32_hex_digits(text):
    assert is_id(ID)
    assert not is_id(text)


# Keys and messages


def test_bodies_of_a_job_and_uploads_have_places_of_their_own():
    assert job_key("fruit", "shop", ID, "request") == f"fruit/shop/{ID}/request"
    assert a_job(client=NOBODY).result == f"fruit/-/{ID}/result-{'f' * 16}"
    assert upload_key("shop", ID) == f"_uploads/shop/{ID}"
    assert status_url(ID) == f"/v2/jobs/{ID}"


@given(JOBS, JOBS)
def test_the_places_of_two_jobs_differ(one, other):
    same = (one.model, one.client, one.id, one.digest[:16]) == (other.model, other.client, other.id, other.digest[:16])
    assert (one.result == other.result) is same


@pytest.mark.parametrize(("status", "ended"), [("queued", False), ("running", False), ("succeeded", True), ("failed", True)])
def test_a_job_has_ended_with_a_result_or_an_error(status, ended):
    assert a_job(status=status).ended is ended


# The table, in moto's DynamoDB


def client_of(name: Any, url: str) -> Any:
    return boto3.client(name, endpoint_url=url, region_name="us-east-1", aws_access_key_id="local", aws_secret_access_key="local")


def environ_of(url: str) -> dict[str, str]:
    return {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}


@pytest.fixture
def items(moto_url) -> Iterator[Any]:
    """A boto3 client beside the table."""
    made = client_of("dynamodb", moto_url)
    schema: Any = [{"AttributeName": "id", "KeyType": "HASH"}]
    attributes: Any = [{"AttributeName": "id", "AttributeType": "S"}]
    made.create_table(TableName="jobs", KeySchema=schema, AttributeDefinitions=attributes, BillingMode="PAY_PER_REQUEST")
    yield made
    made.delete_table(TableName="jobs")


@pytest.fixture
def table(items) -> JobTable:
    return JobTable(JsonService.from_environ("dynamodb", environ_of(items.meta.endpoint_url)), "jobs")


def test_a_job_is_kept_once_and_read(items, table):
    job, late = a_job(), a_job(digest="0" * 64)

    assert table.create(job) == job
    assert table.create(late) == job
    assert table.read(ID, now=NOW) == job
    assert items.scan(TableName="jobs")["Items"] == [to_item(job)]


def test_a_job_that_is_not_there_is_none(table):
    assert table.read(ID, now=NOW) is None
    assert table.start(ID, now=NOW) is None
    assert table.finish(a_job(), now=NOW, size=1, header_length=None, version="v") is None
    assert table.fail(a_job(), now=NOW, error="e", status=400) is None
    assert table.delete(ID) is None
    assert table.read(ID, now=NOW) is None  # none of it made one


def test_a_job_whose_time_is_over_is_none_and_another_takes_its_place(table):
    """DynamoDB may take days to delete it."""
    table.create(a_job())
    new = a_job(created=NOW + 101, updated=NOW + 101, expiration=NOW + 200, digest="0" * 64)

    assert table.read(ID, now=NOW + 100)
    assert table.read(ID, now=NOW + 101) is None
    assert table.create(new) == new


def test_a_job_runs_and_has_a_result(table):
    table.create(a_job())
    running = table.start(ID, now=NOW + 1.7)
    finished = table.finish(a_job(), now=NOW + 2.9, size=120, header_length=80, version="v")

    assert running == a_job(status="running", updated=NOW + 1, attempts=1)
    told = {"result_size": 120, "result_header_length": 80, "model_version": "v"}
    assert finished == table.read(ID, now=NOW) == replace(running, status="succeeded", updated=NOW + 2, **told)


def test_a_job_runs_and_has_an_error(table):
    table.create(a_job())
    running = table.start(ID, now=NOW)

    assert table.fail(a_job(), now=NOW, error="no", status=400) == replace(running, status="failed", error="no", error_status=400)


def test_a_job_of_a_worker_that_died_starts_again(table):
    table.create(a_job())
    table.start(ID, now=NOW)

    assert table.start(ID, now=NOW + 5) == a_job(status="running", updated=NOW + 5, attempts=2)


def test_who_ends_a_job_first_has_ended_it(table):
    """A worker that was thought dead comes late, or the answer to its write got lost and it writes again."""
    table.create(a_job())
    table.start(ID, now=NOW)
    first = table.finish(a_job(), now=NOW + 1, size=1, header_length=None, version="v")

    assert table.finish(a_job(), now=NOW + 2, size=9, header_length=None, version="w") == first
    assert table.fail(a_job(), now=NOW + 2, error="late", status=500) == first
    assert table.start(ID, now=NOW + 2) == first


@pytest.mark.parametrize(("status", "starts"), [(400, False), (499, False), (500, True), (503, True)])
def test_a_job_that_failed_for_no_fault_of_its_request_starts_again(table, status, starts):
    """Its message was taken out of the dead-letter queue."""
    table.create(a_job())
    table.start(ID, now=NOW)
    failed = table.fail(a_job(), now=NOW, error="no", status=status)
    again = table.start(ID, now=NOW + 1)

    assert again == (a_job(status="running", updated=NOW + 1, attempts=2) if starts else failed)


def test_who_ran_a_job_that_was_deleted_does_not_end_what_has_its_id_since(table):
    """An Idempotency-Key that is used again gives the same id to another request."""
    old, new = a_job(), a_job(digest="0" * 64)
    table.create(old)
    table.start(ID, now=NOW)
    table.delete(ID)
    table.create(new)

    assert table.finish(old, now=NOW, size=1, header_length=None, version="v") is None
    assert table.fail(old, now=NOW, error="no", status=400) is None
    assert table.read(ID, now=NOW) == new
    assert old.result != new.result


def test_a_result_ends_a_job_that_somebody_gave_up_too_early(table):
    """Its last message was out of time, as another worker ran it."""
    table.create(a_job())
    running = table.start(ID, now=NOW)
    table.fail(a_job(), now=NOW, error="gave up", status=503)
    finished = table.finish(a_job(), now=NOW + 2, size=120, header_length=None, version="v")

    assert finished == table.read(ID, now=NOW) == replace(running, status="succeeded", updated=NOW + 2, result_size=120, model_version="v")


def test_what_is_deleted_stays_deleted(table):
    table.create(a_job())
    running = table.start(ID, now=NOW)

    assert table.delete(ID) == running
    assert table.finish(a_job(), now=NOW, size=1, header_length=None, version="v") is None
    assert table.read(ID, now=NOW) is None


ACTIONS = st.lists(st.sampled_from(["create", "start", "finish", "fail 400", "fail 503", "delete"]), max_size=12)


@settings(max_examples=40)
@given(actions=ACTIONS)
def test_any_order_of_events_leaves_a_job_in_a_state_that_may_follow(moto_url, actions):
    """Against the same rules in plain words."""
    made = client_of("dynamodb", moto_url)
    schema: Any = [{"AttributeName": "id", "KeyType": "HASH"}]
    attributes: Any = [{"AttributeName": "id", "AttributeType": "S"}]
    made.create_table(TableName="orders", KeySchema=schema, AttributeDefinitions=attributes, BillingMode="PAY_PER_REQUEST")
    table = JobTable(JsonService.from_environ("dynamodb", environ_of(moto_url)), "orders")
    state: tuple[str, int] | None = None
    try:
        for action in actions:
            found, state = acted(table, action), following(state, action)
            after = table.read(ID, now=NOW)
            assert (after and (after.status, after.error_status or 0)) == state
            assert action == "delete" or found == after
    finally:
        made.delete_table(TableName="orders")


def acted(table: JobTable, action: str) -> Job | None:
    match action.split():
        case ["create"]:
            return table.create(a_job())
        case ["start"]:
            return table.start(ID, now=NOW)
        case ["finish"]:
            return table.finish(a_job(), now=NOW, size=1, header_length=None, version="v")
        case ["fail", status]:
            return table.fail(a_job(), now=NOW, error="no", status=int(status))
    return table.delete(ID)


def following(state: tuple[str, int] | None, action: str) -> tuple[str, int] | None:
    """Status and the error's, after `action`."""
    if action == "delete" or state is None:
        return ("queued", 0) if action == "create" else None
    open_ = state[0] in {"queued", "running"} or state[1] >= 500
    match action.split():
        case ["start"] if open_:
            return "running", 0
        case ["finish"] if open_:
            return "succeeded", 0
        case ["fail", status] if open_:
            return "failed", int(status)
    return state


def test_a_record_that_is_no_job_is_said_to_be_none(items, table):
    items.put_item(TableName="jobs", Item={"id": {"S": ID}, "status": {"S": "INPROGRESS"}, "expiration": {"N": str(NOW + 9)}})

    with pytest.raises(UnreadableJob, match=ID):
        table.read(ID, now=NOW)
    with pytest.raises(UnreadableJob, match=ID):
        table.create(a_job())
    with pytest.raises(UnreadableJob, match=ID):
        table.start(ID, now=NOW)


def test_a_table_that_is_not_there_is_unavailable(items):
    table = JobTable(JsonService.from_environ("dynamodb", environ_of(items.meta.endpoint_url)), "elsewhere")

    with pytest.raises(ServiceUnavailable, match="dynamodb could not answer PutItem: HTTP 400 ResourceNotFoundException"):
        table.create(a_job())


# The queue


@pytest.mark.parametrize("client", ["shop", NOBODY])
def test_a_message_says_which_job_and_groups_by_client(moto_url, client):
    sqs = client_of("sqs", moto_url)
    url = sqs.create_queue(QueueName="onnx-told")["QueueUrl"]
    job = a_job(client=client)
    elsewhere = "https://sqs.us-east-1.amazonaws.com/123456789012/onnx-told"  # as the stacks write it

    send(JsonService.from_environ("sqs", environ_of(moto_url)), elsewhere, job)

    (told,) = sqs.receive_message(QueueUrl=url, MessageSystemAttributeNames=["MessageGroupId"])["Messages"]
    sqs.delete_queue(QueueUrl=url)
    assert json.loads(told["Body"]) == message(job) == {"job": ID, "client": client, "model": "fruit"}
    assert told["Attributes"]["MessageGroupId"] == client


def test_a_queue_that_is_not_there_is_unavailable(moto_url):
    sqs = JsonService.from_environ("sqs", environ_of(moto_url))

    with pytest.raises(ServiceUnavailable, match=r"sqs could not answer SendMessage: HTTP 400"):
        send(sqs, "https://sqs.us-east-1.amazonaws.com/123456789012/nowhere", a_job())
