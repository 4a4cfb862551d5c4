import ast
import re
from pathlib import Path

import pytest

from service.domain.platform.webhooks import EVENT_KINDS
from service.operations.platform import jobs
from service.webhook_sender import DEADLINE_S
from tests.service.support import actors
from tests.service.support.actors import act, cohort, create_rollout, ok, publish, refused
from tests.service.support.webhook_receiver import listening, verified

ROOT = Path(__file__).parents[3]


@pytest.fixture
def settings(settings):
    """Receivers of tests listen on loopback."""
    return settings.model_copy(update={"webhook_allow_private": True})


@pytest.fixture
def receiver():
    with listening() as server:
        yield server


def call(live, method, path="", body=None, scope="release-manager"):
    return live.call(method, f"/v1/admin/webhooks{path}", body, scope)


def add(live, receiver, name="ops", **more):
    return ok(call(live, "PUT", f"/{name}", {"url": receiver.url} | more))


def deliveries(live, name="ops"):
    return ok(call(live, "GET", f"/{name}/deliveries", scope="viewer"))


def deliver(live):
    """Ring and run what is due, until nothing is."""
    actors.write(
        live, "update jobs set run_after = now() where kind = 'deliver_webhook' and state = 'queued'"
    )
    return [state for kind, state in live.run_jobs() if kind == "deliver_webhook"]


def test_what_happens_to_a_rollout_is_told_signed_and_in_full(live, receiver):
    secret = add(live, receiver)["secret"]
    publish(live, "v1", b"weights of the webhooks")
    cohort(live)
    ok(create_rollout(live, "r", "v1"))
    ok(act(live, "r", "start", "release 5.4"))
    deliver(live)
    told = [verified(headers, body, secret)[1] for headers, body in receiver.received]
    assert sorted(event["type"] for event in told) == ["rollout.create", "rollout.start"]
    (started,) = [event for event in told if event["type"] == "rollout.start"]
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


def test_each_hears_of_what_it_asked_for(live, receiver):
    add(live, receiver, "halts", event_types=["rollout.halt"])
    add(live, receiver, "off", active=False)
    publish(live, "v1", b"weights of the halts")
    actors.roll_out(live, "r", "v1")
    ok(act(live, "r", "halt", "bad"))
    assert [d["event_type"] for d in deliveries(live, "halts")] == ["rollout.halt"]
    assert deliveries(live, "off") == []


def test_what_did_not_happen_is_not_told(live, receiver):
    add(live, receiver)
    publish(live, "v1", b"weights of the rolled back")
    cohort(live)
    ok(create_rollout(live, "r", "v1"))
    refused(act(live, "r", "resume"), 409, "wrong_state")
    assert [d["event_type"] for d in deliveries(live)] == ["rollout.create"]


def test_a_message_that_failed_comes_again_with_the_same_id(live, receiver):
    secret = add(live, receiver)["secret"]
    receiver.status = 503
    ok(call(live, "POST", "/ops/test"))
    assert deliver(live) == ["queued"]
    waiting = deliveries(live)[0]
    assert (waiting["state"], waiting["attempts"]) == ("pending", 1)
    assert waiting["problem"] == {"code": "webhook_failed", "detail": "the other side answered 503"}
    receiver.status = 200
    assert deliver(live) == ["done"]
    done = deliveries(live)[0]
    assert (done["state"], done["attempts"], done["problem"]) == ("delivered", 2, None)
    ids = {verified(headers, body, secret)[0] for headers, body in receiver.received}
    assert ids == {done["message_id"]}


def test_a_message_is_tried_for_a_day_then_given_up_shown_and_sent_again_by_hand(live, receiver):
    add(live, receiver)
    receiver.status = 500
    ok(call(live, "POST", "/ops/test"))
    tries = 0
    while deliver(live):
        tries += 1
    given_up = deliveries(live)[0]
    assert (given_up["state"], given_up["attempts"], tries) == ("failed", 11, 11)
    refused(call(live, "POST", f"/ops/deliveries/{given_up['id'] + 1}/retry"), 404, "not_found", "delivery")
    receiver.status = 200
    ok(call(live, "POST", f"/ops/deliveries/{given_up['id']}/retry"))
    assert deliver(live) == ["done"]
    again = f"/ops/deliveries/{given_up['id']}/retry"
    assert refused(call(live, "POST", again), 409, "wrong_state")["state"] == "delivered"


def test_the_pauses_between_attempts_add_up_to_a_day():
    hours = sum(pause.total_seconds() for pause in jobs.BACKOFF_BY_KIND["deliver_webhook"]) / 3600
    assert 23 < hours < 25
    assert DEADLINE_S < 90 / 3, "a delivery ends well within the lease of its job"


def test_a_webhook_whose_other_side_is_gone_is_switched_off_and_says_so(live, receiver):
    add(live, receiver)
    receiver.status = 410
    ok(call(live, "POST", "/ops/test"))
    assert deliver(live) == ["dead"]
    assert deliveries(live)[0]["state"] == "failed"
    shown = ok(call(live, "GET", "/ops"))
    assert not shown["active"]
    assert "410" in shown["problem"]
    assert refused(call(live, "POST", "/ops/test"), 409, "wrong_state")
    assert add(live, receiver)["problem"] == ""


def test_a_secret_is_shown_once_and_replaced_without_a_gap(live, receiver):
    first = add(live, receiver)["secret"]
    assert first.startswith("whsec_")
    assert add(live, receiver)["secret"] is None
    assert "secret" not in ok(call(live, "GET", "/ops"))
    assert first not in str(ok(live.call("GET", "/v1/admin/audit")))
    second = ok(call(live, "POST", "/ops/rotate"))["secret"]
    ok(call(live, "POST", "/ops/test"))
    deliver(live)
    for secret in (first, second):
        verified(*receiver.received[0], secret)
    actors.write(live, "update webhooks set previous_until = now() - interval '1 second'")
    ok(call(live, "POST", "/ops/test"))
    deliver(live)
    verified(*receiver.received[1], second)
    with pytest.raises(AssertionError):
        verified(*receiver.received[1], first)


def test_a_token_in_an_address_is_shown_to_those_who_may_change_it_only(live, receiver):
    add(live, receiver)
    assert ok(call(live, "GET", "/ops"))["url"] == receiver.url
    for path in ("/ops", ""):
        shown = str(ok(call(live, "GET", path, scope="viewer")))
        assert (f"127.0.0.1:{receiver.port}/..." in shown, "/hook" in shown) == (True, False)
    assert "/hook" not in str(ok(live.call("GET", "/v1/admin/audit")))


def test_a_webhook_that_is_removed_is_told_nothing_more(live, receiver):
    add(live, receiver)
    ok(call(live, "POST", "/ops/test"))
    ok(call(live, "DELETE", "/ops"))
    assert deliver(live) == ["done"]
    assert receiver.received == []
    refused(call(live, "GET", "/ops"), 404, "not_found", "webhook")


def test_an_address_inside_is_refused_where_it_is_not_meant(live):
    with actors_settings(live, webhook_allow_private=False):
        for url in ("http://example.com/", "https://127.0.0.1/", "https://169.254.169.254/latest"):
            refused(call(live, "PUT", "/ops", {"url": url}), 422, "invalid_webhook", "url")
    refused(
        call(live, "PUT", "/ops", {"url": "http://127.0.0.1/", "event_types": ["rollout.halted"]}),
        422,
        "invalid_webhook",
        "event_types.0",
    )
    refused(call(live, "PUT", "/ops", {"url": "http://127.0.0.1/"}, "publisher"), 403, "forbidden")


def actors_settings(live, **changes):
    """Another set of settings for the API process, for a while."""
    return _Rewired(live, live.settings.model_copy(update=changes))


class _Rewired:
    def __init__(self, live, settings):
        self.live, self.settings = live, settings

    def __enter__(self):
        actors.rewire(self.live, settings=self.settings)

    def __exit__(self, *_error):
        actors.rewire(self.live, settings=self.live.settings)


def test_old_messages_are_forgotten_with_their_jobs_and_waiting_ones_are_not(live, receiver):
    add(live, receiver)
    ok(call(live, "POST", "/ops/test"))
    deliver(live)
    ok(call(live, "POST", "/ops/test"))
    actors.write(live, "update webhook_deliveries set created_at = now() - interval '31 days'")
    live.run_ticks()
    assert [d["state"] for d in deliveries(live)] == ["pending"]
    kinds = actors.rows(live, "select kind, state from jobs where kind = 'deliver_webhook'")
    assert [row["state"] for row in kinds] == ["queued"]


def test_every_word_in_a_rollouts_history_is_one_that_a_webhook_can_ask_for():
    """Literal words given to `note`; what `apply_transition` notes are the verbs."""
    found = set()
    for path in (ROOT / "service" / "operations").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and re.search(r"\bnote$", ast.unparse(node.func))
                and len(node.args) > 2
            ):
                kind = node.args[2]
                if isinstance(kind, ast.Constant):
                    found.add(f"rollout.{kind.value}")
    assert "rollout.create" in found
    assert found <= EVENT_KINDS
