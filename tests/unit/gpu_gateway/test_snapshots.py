"""SnapStart of a function whose model is behind an endpoint."""


def test_no_connection_to_the_endpoint_outlives_a_snapshot(releases, app, monkeypatch):
    closed: list[int] = []
    monkeypatch.setattr(type(releases.runtime), "close", lambda runtime: closed.append(len(runtime.asked)))

    app.suspend()

    assert closed == [len(releases.runtime.asked)] == [1]
