"""SnapStart: what a snapshot holds, and what each environment that is restored from it asks for anew."""

import json
import sys
from types import SimpleNamespace

import pytest

from modelserve import snapshots
from modelserve.session import BACKENDS
from tests.unit.modelserve.graphs import scaled
from tests.unit.modelserve.stores import MemoryStore, Publisher

from .apps import INFER, App, asked, rest, started
from .frozen import RESTORES, Frozen

BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}).encode()


def answered(frozen: Frozen) -> list[tuple[int, str, list[float]]]:
    """Status, version and numbers of each answer."""
    bodies = [(answer["statusCode"], json.loads(answer["body"])) for answer in frozen.answers]
    return [(status, body.get("model_version", ""), body["outputs"][0]["data"]) for status, body in bodies]


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_environments_of_one_snapshot_serve_what_was_promoted_after_it(store: MemoryStore, publisher: Publisher, backend):
    """With credentials that were rotated meanwhile, random numbers of their own, and connections of their own."""
    publisher.release(scaled(2))
    promoted: list[str] = []

    def between(frozen: Frozen) -> None:
        promoted.append(publisher.release(scaled(3)))
        frozen.key = "after"

    frozen = Frozen.run(store, between, backend=backend)

    assert answered(frozen) == [(200, promoted[0], [3, 6, 9])] * RESTORES
    assert frozen.keys == ({"before"}, {"after"})
    assert len(set(frozen.told("drawn"))) == RESTORES
    assert frozen.told("open") == [[]]
    assert sorted(frozen.logged()) == [("INFO", "loaded and run ahead")] + [("INFO", "restored")] * RESTORES


def test_a_snapshot_of_an_empty_store_serves_what_is_promoted_later(store: MemoryStore, publisher: Publisher):
    promoted: list[str] = []

    frozen = Frozen.run(store, lambda _: promoted.append(publisher.release(scaled(2))))

    assert answered(frozen) == [(200, promoted[0], [2, 4, 6])] * RESTORES
    assert sorted(level for level, _ in frozen.logged()) == ["INFO"] * RESTORES + ["WARNING"]


@pytest.fixture
def app(store: MemoryStore, publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> App:
    """Looks at its alias once an hour."""
    publisher.release(scaled(2))
    return started(store, monkeypatch, alias_check_seconds=3600)


def test_what_the_snapshot_holds_answers_while_the_store_is_down(app, store, capfd):
    app.suspend()
    store.down = "no route to host"

    app.resume()

    assert asked(app, rest("POST", INFER, BODY)).json["outputs"][0]["data"] == [2, 4, 6]
    assert "no route to host" in capfd.readouterr().out


def test_an_alias_that_has_not_moved_costs_a_restore_one_question(app, store):
    app.suspend()
    store.calls.clear()

    app.resume()
    asked(app, rest("POST", INFER, BODY))

    assert [call for call, _ in store.calls] == ["get"]


def test_a_version_that_takes_long_to_load_is_left_to_the_first_request(app, store):
    """Which has more time than a restore."""
    app._load_seconds = 3
    app.suspend()
    store.calls.clear()

    app.resume()
    before = len(store.calls)
    asked(app, rest("POST", INFER, BODY))

    assert (before, [call for call, _ in store.calls]) == (0, ["get"])


def test_what_init_could_not_load_is_loaded_before_the_snapshot(store, publisher, monkeypatch, capfd):
    publisher.release(scaled(2))
    store.down = "no route to host"
    app = started(store, monkeypatch)
    store.down = None

    app.suspend()

    assert [call for call, _ in store.calls if call == "download"] == ["download"]
    assert "loaded and run ahead" in capfd.readouterr().out


def test_a_model_runs_once_before_the_snapshot(app, monkeypatch):
    ran: list[float] = []
    monkeypatch.setattr(app._loader.find(None), "warm_up", lambda *, seconds: ran.append(seconds))

    app.suspend()

    assert len(ran) == 1


def test_the_first_answer_after_a_restore_counts_as_a_cold_start(app, capfd):
    app.suspend()
    app.resume()
    capfd.readouterr()

    asked(app, rest("POST", INFER, BODY))

    written = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["ColdStart"] for line in written if "ColdStart" in line] == [[1]]


def test_openssl_draws_anew_and_what_was_never_imported_stays_so(monkeypatch):
    added: list[tuple[bytes, float]] = []
    monkeypatch.setitem(sys.modules, "ssl", SimpleNamespace(RAND_add=lambda *drawn: added.append(drawn)))
    monkeypatch.delitem(sys.modules, "random")

    for _ in range(2):
        snapshots._reseed()

    assert len({drawn for drawn, _ in added}) == 2
    assert "random" not in sys.modules


def test_an_environment_that_is_provisioned_has_run_its_model_and_no_request_to_it_is_a_cold_start(store, publisher, monkeypatch, capfd):
    """As Powertools counts it: whoever asks first waits for nothing."""
    publisher.release(scaled(2))
    app = started(store, monkeypatch, environ={"AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency"})
    ahead = capfd.readouterr().out

    asked(app, rest("POST", INFER, BODY))

    written = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert "loaded and run ahead" in ahead
    assert not any("ColdStart" in line or line.get("cold_start") for line in written)


def test_only_a_function_with_snapshots_imports_the_hooks(app):
    assert not app._frozen
