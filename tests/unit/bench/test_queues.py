"""The simulated queues deliver everything once, in the order that SQS documents."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.bench.queues import NOISY_IN_FLIGHT, Job, Mapping, Queue, Work, load, simulate

WORK = Work(batch=0.2, job=0.1)
LOW = Mapping(batch_size=10, concurrency=2)
jobs = st.lists(st.builds(Job, st.sampled_from("abc"), st.floats(0, 100)), max_size=60)


@given(jobs, st.booleans(), st.integers(1, 10), st.integers(2, 8))
def test_every_job_is_taken_once_and_not_before_it_is_sent(sent, fair, batch_size, concurrency):
    done = simulate(sent, Queue(fair=fair), Mapping(batch_size=batch_size, concurrency=concurrency), WORK)

    assert Counter(each.job for each in done) == Counter(sent)
    assert all(each.waited >= 0 for each in done)


@given(jobs)
def test_without_groups_the_first_come_is_the_first_served(sent):
    done = simulate(sent, Queue(fair=False), LOW, WORK)

    assert [each.job.sent for each in done] == sorted(job.sent for job in sent)


def test_fairness_costs_the_quiet_nothing_and_nobody_any_time():
    noisy, quiet = load(noisy_jobs=2000, quiet_every=5, seconds=240)
    plain, fair = (simulate(noisy + quiet, Queue(fair=fair), LOW, WORK) for fair in (False, True))

    def longest(done):
        return max(each.waited for each in done if each.job.client == "quiet")

    assert longest(plain) > 50
    assert longest(fair) <= WORK.seconds(LOW.batch_size) + 1e-9  # one batch of another's, at most
    assert max(each.taken for each in fair) == pytest.approx(max(each.taken for each in plain), abs=WORK.seconds(10))


def test_a_group_is_noisy_by_its_messages_in_flight():
    queue = Queue(fair=True)
    for number in range(NOISY_IN_FLIGHT + 1):
        queue.send(Job("noisy", number / 100))
    assert len(queue.receive(NOISY_IN_FLIGHT, now=1)) == NOISY_IN_FLIGHT
    queue.send(Job("quiet", 2))

    assert [job.client for job in queue.receive(2, now=2)] == ["quiet", "noisy"]


def test_a_group_is_noisy_by_the_time_it_took_until_that_is_long_ago():
    def next_client(now):
        queue = Queue(fair=True)
        queue.send(Job("slow", 0))
        queue.finish(queue.receive(1, now=0), now=50, seconds=50)
        queue.send(Job("slow", 51))
        queue.send(Job("quiet", 52))
        return queue.receive(1, now)[0].client

    assert next_client(now=60) == "quiet"
    assert next_client(now=200) == "slow"


def test_of_noisy_groups_the_one_with_less_in_flight_comes_first():
    queue = Queue(fair=True)
    for _ in range(NOISY_IN_FLIGHT + 2):
        queue.send(Job("a", 0.0))
    queue.receive(NOISY_IN_FLIGHT + 2, now=1)
    for number in range(NOISY_IN_FLIGHT + 1):
        queue.send(Job("b", 1 + number / 100))
    queue.receive(NOISY_IN_FLIGHT, now=2)
    queue.send(Job("a", 0.5))

    assert [job.client for job in queue.receive(2, now=3)] == ["b", "a"]
