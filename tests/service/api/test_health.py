def test_health_answers_without_asking_anybody(live):
    assert live.client.get("/health").json() == {"status": "ok"}


def test_ready_says_what_it_found(live):
    answer = live.client.get("/ready")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "database": True, "snapshot": True, "valkey": True}
