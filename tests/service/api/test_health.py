"""Liveness and readiness."""


def test_health_returns_ok(live):
    assert live.client.get("/health").json() == {"status": "ok"}


def test_ready_lists_the_state_of_each_dependency(live):
    response = live.client.get("/ready")
    assert response.status_code == 200
    assert response.json() == {"status": "ready", "database": True, "snapshot": True, "valkey": True}
