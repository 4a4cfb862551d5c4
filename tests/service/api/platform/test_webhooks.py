"""Webhooks: subscriptions, signatures, retries and secrets."""

import ast
from contextlib import contextmanager
from pathlib import Path

import pytest

from service import operations
from service.domain.platform.webhooks import EVENT_TYPES
from service.infrastructure.webhook_sender import DEADLINE_S
from service.operations.platform import jobs
from tests.service.support import actors
from tests.service.support.actors import act, cohort, create_rollout, ok, publish, refused
from tests.service.support.webhook_receiver import listening, verified


@pytest.fixture
def settings(settings):
    """Settings that permit receivers on loopback."""
    return settings.model_copy(update={"webhook_allow_private": True})


@pytest.fixture
def receiver():
    with listening() as server:
        yield server


def call_webhooks(live, method, path="", body=None, scope="release-manager"):
    return live.call(method, f"/v1/admin/webhooks{path}", body, scope)


def add_webhook(live, receiver, name="ops", **more):
    return ok(call_webhooks(live, "PUT", f"/{name}", {"url": receiver.url} | more))


def deliveries(live, name="ops"):
    return ok(call_webhooks(live, "GET", f"/{name}/deliveries", scope="viewer"))


def run_deliveries(live):
    """Make pending deliveries due and run their jobs; return the state of each job."""
    actors.write(
        live, "update jobs set run_after = now() where kind = 'deliver_webhook' and state = 'queued'"
    )
    return [state for kind, state in live.run_jobs() if kind == "deliver_webhook"]


def test_rollout_events_are_delivered_with_signatures(live, receiver):
    secret = add_webhook(live, receiver)["secret"]
    publish(live, "v1", b"weights of the webhooks")
    cohort(live)
    ok(create_rollout(live, "r", "v1"))
    ok(act(live, "r", "start", "release 5.4"))
    run_deliveries(live)
    events = [verified(headers, body, secret)[1] for headers, body in receiver.received]
    assert sorted(event["type"] for event in events) == ["rollout.create", "rollout.start"]
    (started,) = [event for event in events if event["type"] == "rollout.start"]
    assert started["data"] == {
        "rollout": "r",
        "rollout_id": actors.rollout(live, "r")["id"],
        "model": "m",
        "version": "v1",
        "state": "running",
        "stage": 0,
        "stages": 1,
        "actor": "release-manager",
        "reason": "release 5.4",
        "sequence": started["data"]["sequence"],
    }
    assert "release 5.4" in started["text"]
    assert [d["state"] for d in deliveries(live)] == ["delivered", "delivered"]


def test_a_webhook_receives_the_events_that_it_subscribes_to(live, receiver):
    add_webhook(live, receiver, "halts", event_types=["rollout.halt"])
    add_webhook(live, receiver, "off", active=False)
    publish(live, "v1", b"weights of the halts")
    actors.roll_out(live, "r", "v1")
    ok(act(live, "r", "halt", "bad"))
    assert [d["event_type"] for d in deliveries(live, "halts")] == ["rollout.halt"]
    assert deliveries(live, "off") == []


def test_a_refused_action_sends_no_event(live, receiver):
    add_webhook(live, receiver)
    publish(live, "v1", b"weights of the rolled back")
    cohort(live)
    ok(create_rollout(live, "r", "v1"))
    refused(act(live, "r", "resume"), 409, "wrong_state")
    assert [d["event_type"] for d in deliveries(live)] == ["rollout.create"]


def test_a_failed_message_is_retried_with_the_same_id(live, receiver):
    secret = add_webhook(live, receiver)["secret"]
    receiver.status = 503
    ok(call_webhooks(live, "POST", "/ops/test"))
    assert run_deliveries(live) == ["queued"]
    waiting = deliveries(live)[0]
    assert (waiting["state"], waiting["attempts"]) == ("pending", 1)
    assert waiting["problem"] == {"code": "webhook_failed", "detail": "the receiver responded with 503"}
    receiver.status = 200
    assert run_deliveries(live) == ["done"]
    done = deliveries(live)[0]
    assert (done["state"], done["attempts"], done["problem"]) == ("delivered", 2, None)
    ids = {verified(headers, body, secret)[0] for headers, body in receiver.received}
    assert ids == {done["message_id"]}


def test_a_message_fails_after_eleven_attempts_and_can_be_retried_manually(live, receiver):
    add_webhook(live, receiver)
    receiver.status = 500
    ok(call_webhooks(live, "POST", "/ops/test"))
    tries = 0
    while run_deliveries(live):
        tries += 1
    failed = deliveries(live)[0]
    assert (failed["state"], failed["attempts"], tries) == ("failed", 11, 11)
    refused(
        call_webhooks(live, "POST", f"/ops/deliveries/{failed['id'] + 1}/retry"),
        404,
        "not_found",
        "delivery",
    )
    receiver.status = 200
    ok(call_webhooks(live, "POST", f"/ops/deliveries/{failed['id']}/retry"))
    assert run_deliveries(live) == ["done"]
    again = f"/ops/deliveries/{failed['id']}/retry"
    assert refused(call_webhooks(live, "POST", again), 409, "wrong_state")["state"] == "delivered"


def test_retries_cover_a_day():
    hours = sum(pause.total_seconds() for pause in jobs.BACKOFF_BY_KIND["deliver_webhook"]) / 3600
    assert 23 < hours < 25
    assert DEADLINE_S < 90 / 3, "a delivery must end well before the lease of its job"


def test_a_webhook_whose_receiver_answers_410_is_deactivated(live, receiver):
    add_webhook(live, receiver)
    receiver.status = 410
    ok(call_webhooks(live, "POST", "/ops/test"))
    assert run_deliveries(live) == ["dead"]
    assert deliveries(live)[0]["state"] == "failed"
    shown = ok(call_webhooks(live, "GET", "/ops"))
    assert not shown["active"]
    assert "410" in shown["problem"]
    assert refused(call_webhooks(live, "POST", "/ops/test"), 409, "wrong_state")
    assert add_webhook(live, receiver)["problem"] == ""


def test_a_secret_is_returned_once_and_both_secrets_sign_after_a_rotation(live, receiver):
    first = add_webhook(live, receiver)["secret"]
    assert first.startswith("whsec_")
    assert add_webhook(live, receiver)["secret"] is None
    assert "secret" not in ok(call_webhooks(live, "GET", "/ops"))
    assert first not in str(ok(live.call("GET", "/v1/admin/audit")))
    second = ok(call_webhooks(live, "POST", "/ops/rotate-secret"))["secret"]
    ok(call_webhooks(live, "POST", "/ops/test"))
    run_deliveries(live)
    headers, body = receiver.received[0]
    for secret in (first, second):
        verified(headers, body, secret)
    actors.write(live, "update webhooks set previous_until = now() - interval '1 second'")
    ok(call_webhooks(live, "POST", "/ops/test"))
    run_deliveries(live)
    headers, body = receiver.received[1]
    verified(headers, body, second)
    with pytest.raises(AssertionError):
        verified(headers, body, first)


def test_only_release_managers_see_the_full_url(live, receiver):
    add_webhook(live, receiver)
    assert ok(call_webhooks(live, "GET", "/ops"))["url"] == receiver.url
    for path in ("/ops", ""):
        shown = str(ok(call_webhooks(live, "GET", path, scope="viewer")))
        assert (f"127.0.0.1:{receiver.port}/..." in shown, "/hook" in shown) == (True, False)
    assert "/hook" not in str(ok(live.call("GET", "/v1/admin/audit")))


def test_a_deleted_webhook_receives_no_pending_messages(live, receiver):
    add_webhook(live, receiver)
    ok(call_webhooks(live, "POST", "/ops/test"))
    ok(call_webhooks(live, "DELETE", "/ops"))
    assert run_deliveries(live) == ["done"]
    assert receiver.received == []
    refused(call_webhooks(live, "GET", "/ops"), 404, "not_found", "webhook")


def test_private_addresses_and_unknown_event_types_are_refused(live):
    with process_settings(live, webhook_allow_private=False):
        for url in ("http://example.com/", "https://127.0.0.1/", "https://169.254.169.254/latest"):
            refused(call_webhooks(live, "PUT", "/ops", {"url": url}), 422, "invalid_webhook", "url")
    refused(
        call_webhooks(live, "PUT", "/ops", {"url": "http://127.0.0.1/", "event_types": ["rollout.halted"]}),
        422,
        "invalid_webhook",
        "event_types.0",
    )
    refused(call_webhooks(live, "PUT", "/ops", {"url": "http://127.0.0.1/"}, "publisher"), 403, "forbidden")


@contextmanager
def process_settings(live, **changes):
    """Change settings of the API process within a block."""
    actors.rewire(live, settings=live.settings.model_copy(update=changes))
    try:
        yield
    finally:
        actors.rewire(live, settings=live.settings)


def test_old_deliveries_are_deleted_unless_they_are_pending(live, receiver):
    add_webhook(live, receiver)
    ok(call_webhooks(live, "POST", "/ops/test"))
    run_deliveries(live)
    ok(call_webhooks(live, "POST", "/ops/test"))
    actors.write(live, "update webhook_deliveries set created_at = now() - interval '31 days'")
    live.run_scheduled_tasks()
    assert [d["state"] for d in deliveries(live)] == ["pending"]
    kinds = actors.rows(live, "select kind, state from jobs where kind = 'deliver_webhook'")
    assert [row["state"] for row in kinds] == ["queued"]


def test_every_kind_of_rollout_event_is_a_webhook_event_type():
    """Find the literal kinds in the calls of `record_event`; the other calls record verbs."""
    recorded = set()
    for path in Path(operations.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("record_event"):
                kind = node.args[2]
                if isinstance(kind, ast.Constant):
                    recorded.add(f"rollout.{kind.value!s}")
    assert {"rollout.create", "rollout.pause_class"} <= recorded <= EVENT_TYPES
