"""Deadlines, with threads that wait for each other and not for a time."""

import os
import threading
import time
import warnings
import weakref
from typing import Any

from modelserve._watchdog import Watchdog

PATIENCE = 2  # seconds until a test is given up


class Options:
    """Run options that tell when they are terminated."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    @property
    def terminate(self) -> bool:
        return self.ended.is_set()

    @terminate.setter
    def terminate(self, value: bool) -> None:
        if value:
            self.ended.set()


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "deadline"]


def test_a_run_that_is_over_is_forgotten():
    """Its options lead to its session, which would stay in memory beside the next version's."""
    watchdog, options, other = Watchdog(), Options(), Options()
    watchdog.watch(other, time.monotonic() + 0.05)  # wakes the thread, which looks at both
    ticket = watchdog.watch(options, time.monotonic() + 60)
    assert other.ended.wait(PATIENCE)
    time.sleep(0.05)  # it has looked at the last one too

    watchdog.release(ticket)
    gone = weakref.ref(options)
    del options

    assert gone() is None


def test_a_run_is_ended_at_its_deadline():
    options = Options()

    Watchdog().watch(options, time.monotonic() + 0.01)

    assert options.ended.wait(PATIENCE)


def test_an_earlier_deadline_is_kept_beside_a_later_one():
    watchdog, late, early = Watchdog(), Options(), Options()

    watchdog.watch(late, time.monotonic() + 3600)
    watchdog.watch(early, time.monotonic() + 0.01)

    assert early.ended.wait(PATIENCE)
    assert not late.terminate


def test_a_run_that_ended_in_time_is_left_alone():
    watchdog, over, running = Watchdog(), Options(), Options()

    deadline = time.monotonic() + 0.05
    assert watchdog.release(watchdog.watch(over, deadline))
    watchdog.watch(running, deadline)

    assert running.ended.wait(PATIENCE)
    assert not over.terminate


def test_who_runs_is_told_that_a_run_was_ended_since_its_options_are_no_longer_to_be_used():
    watchdog, options = Watchdog(), Options()

    ticket = watchdog.watch(options, time.monotonic())

    assert options.ended.wait(PATIENCE)
    assert not watchdog.release(ticket)


def test_options_that_another_run_has_by_now_are_left_alone():
    """A run may end, and its options be another's, between the look at all deadlines and the end of those that passed."""
    watchdog, options = Watchdog(), Options()

    class Runs(dict[int, Any]):
        """The first run ends behind the look, and its options begin another one."""

        def items(self) -> Any:
            seen = list(super().items())
            if len(seen) == 1:
                del self[seen[0][0]]
                self[-1] = (time.monotonic() + 3600, options)
            return seen

    watchdog._runs = Runs()
    watchdog.watch(options, time.monotonic())

    assert not options.ended.wait(0.1)


def test_a_forked_process_has_a_watchdog_of_its_own():
    watchdog, options = Watchdog(), Options()
    watchdog.watch(Options(), time.monotonic() + 3600)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is what is tried
        child = os.fork()
    if not child:
        watchdog.watch(options, time.monotonic() + 0.01)
        os._exit(0 if options.ended.wait(PATIENCE) else 1)

    assert os.waitpid(child, 0)[1] == 0


def test_a_run_is_ended_after_the_watchdog_has_had_nothing_to_watch():
    watchdog = Watchdog()

    for _ in range(3):
        options = Options()
        ticket = watchdog.watch(options, time.monotonic() + 0.01)
        assert options.ended.wait(PATIENCE)
        watchdog.release(ticket)


def test_many_runs_share_one_thread_and_leave_nothing_behind():
    watchdog, before = Watchdog(), len(threads())

    for _ in range(1000):
        watchdog.release(watchdog.watch(Options(), time.monotonic() + 3600))

    assert len(threads()) == before + 1
    assert watchdog._runs == {}


def test_a_run_that_begins_while_the_watchdog_looks_is_ended():
    watchdog, first, second = Watchdog(), Options(), Options()

    class Runs(dict[int, Any]):
        """Begins the second run behind the look at the first one's deadline."""

        looks = 0

        def items(self) -> Any:
            self.looks += 1
            if self.looks == 1:  # the deadline passes after this look, however late it comes
                self.update((ticket, (time.monotonic() + 0.01, first)) for ticket in self)
            seen = list(super().items())
            if self.looks == 2:
                beginner = threading.Thread(target=watchdog.watch, args=(second, time.monotonic() + 0.5))
                beginner.start()
                beginner.join(0.2)  # it may wait for this look to end
            return seen

    watchdog._runs = Runs()
    watchdog.watch(first, time.monotonic() + 3600)

    assert second.ended.wait(PATIENCE)
