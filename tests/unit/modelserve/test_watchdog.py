"""Deadlines, with threads that wait for each other and not for a time."""

import threading
import time
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
    watchdog.watch(over, deadline)
    watchdog.release(over)
    watchdog.watch(running, deadline)

    assert running.ended.wait(PATIENCE)
    assert not over.terminate


def test_a_run_is_ended_after_the_watchdog_has_had_nothing_to_watch():
    watchdog = Watchdog()

    for _ in range(3):
        options = Options()
        watchdog.watch(options, time.monotonic() + 0.01)
        assert options.ended.wait(PATIENCE)
        watchdog.release(options)


def test_many_runs_share_one_thread_and_leave_nothing_behind():
    watchdog, before = Watchdog(), len(threads())

    for _ in range(1000):
        options = Options()
        watchdog.watch(options, time.monotonic() + 3600)
        watchdog.release(options)

    assert len(threads()) == before + 1
    assert watchdog._runs == {}


def test_a_run_that_begins_while_the_watchdog_looks_is_ended():
    watchdog, first, second = Watchdog(), Options(), Options()

    class Runs(dict[int, Any]):
        """Begins the second run behind the look at the first one's deadline."""

        looks = 0

        def values(self) -> Any:
            seen = list(super().values())
            self.looks += 1
            if self.looks == 2:
                beginner = threading.Thread(target=watchdog.watch, args=(second, time.monotonic() + 0.5))
                beginner.start()
                beginner.join(0.2)  # it may wait for this look to end
            return seen

    watchdog._runs = Runs()
    watchdog.watch(first, time.monotonic() + 0.01)

    assert second.ended.wait(PATIENCE)
