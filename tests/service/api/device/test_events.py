"""How batches of device events are stored, counted and deduplicated."""

import random
import time
from uuid import uuid4

import pytest

from tests.service.support import actors
from tests.service.support.actors import Device, enroll, event_id, ok, publish, refused, roll_out, set_up_once

DATA = b"weights of the events"


@pytest.fixture
@set_up_once
def rolled_out(live):
    publish(live, "v1", DATA)
    roll_out(live, "r", "v1")


@pytest.fixture
def device(rolled_out):
    return enroll(rolled_out)


def attempt_row(device, attempt_id):
    query = (
        "select state, code, seq, events, bytes_sent, closed_at from attempts where id = cast(:id as uuid)"
    )
    return actors.rows(device.live, query, id=attempt_id)[0]


def outcomes(device):
    return actors.rollout(device.live, "r")["stages"][0]["outcomes"]


def test_a_repeated_event_changes_nothing(device):
    attempt = device.poll()["attempt_id"]
    done = device.event(attempt, "committed", bytes=7)
    assert device.report(done) == {"accepted": 1, "duplicates": 0}
    assert device.report(done) == {"accepted": 0, "duplicates": 1}
    assert device.report(done, done) == {"accepted": 0, "duplicates": 2}
    assert (outcomes(device)["committed"], outcomes(device)["bytes_sent"]) == (1, 7)


def test_an_event_that_is_repeated_in_one_batch_counts_once(device):
    event = device.event(device.poll()["attempt_id"], "downloading")
    assert device.report(event, event) == {"accepted": 1, "duplicates": 1}


def test_an_event_that_arrives_late_does_not_undo_a_newer_one(device):
    attempt = device.poll()["attempt_id"]
    early, late = device.event(attempt, "downloading", bytes=5), device.event(attempt, "staged", bytes=9)
    device.report(late)
    device.report(early)
    row = attempt_row(device, attempt)
    assert (row["state"], row["seq"], row["events"], row["bytes_sent"]) == ("staged", 2, 2, 9)


def test_the_terminal_event_counts_in_whatever_order_events_arrive(device):
    attempt = device.poll()["attempt_id"]
    states = ("acknowledged", "downloading", "downloaded", "staged", "activating", "committed")
    events = [device.event(attempt, state) for state in states]
    random.Random(4).shuffle(events)
    assert device.report(*events)["accepted"] == 6
    assert (attempt_row(device, attempt)["state"], outcomes(device)["committed"]) == ("committed", 1)


def test_events_of_a_terminal_attempt_are_stored_and_change_nothing(device):
    attempt = device.poll()["attempt_id"]
    device.finish(attempt, "rolled_back", code="crash_loop")
    assert device.finish(attempt, "committed") == {"accepted": 1, "duplicates": 0}
    row = attempt_row(device, attempt)
    assert (row["state"], row["code"]) == ("rolled_back", "crash_loop")
    assert (outcomes(device)["rolled_back"], outcomes(device)["committed"]) == (1, 0)


def test_events_of_unknown_or_foreign_attempts_are_stored_and_change_nothing(device):
    attempt = device.poll()["attempt_id"]
    other = enroll(device.live, "d2")
    assert other.finish(attempt, "failed") == {"accepted": 1, "duplicates": 0}
    assert device.finish(str(uuid4()), "failed") == {"accepted": 1, "duplicates": 0}
    assert device.finish("no uuid", "failed") == {"accepted": 1, "duplicates": 0}
    assert device.finish(None, "metrics", metrics={"load_ms": 3.5}) == {"accepted": 1, "duplicates": 0}
    assert attempt_row(device, attempt)["state"] == "offered"


def test_an_unknown_state_of_a_newer_sdk_is_stored(device):
    attempt = device.poll()["attempt_id"]
    assert device.finish(attempt, "defragmenting") == {"accepted": 1, "duplicates": 0}
    assert attempt_row(device, attempt)["closed_at"] is None


def test_metrics_do_not_change_the_state_of_the_attempt(device):
    attempt = device.poll()["attempt_id"]
    device.finish(attempt, "metrics", metrics={"load_ms": 12})
    assert attempt_row(device, attempt)["state"] == "offered"


def test_only_nul_characters_are_removed_from_text(device):
    attempt = device.poll()["attempt_id"]
    event = device.event(attempt, "fai\0led", code="a\0b", detail="c\0d \\u0000")
    assert device.report(event, device.event("e\0f", "x"))["accepted"] == 2
    rows = actors.rows(device.live, "select state, code, body from events where attempt_id = :id", id=attempt)
    assert (rows[0]["state"], rows[0]["code"]) == ("failed", "ab")
    assert rows[0]["body"]["detail"] == "cd \\u0000"


def test_a_batch_of_more_than_fifty_events_is_refused(device):
    events = [device.event(None, "metrics") for _ in range(51)]
    refused(device.post("/v1/model/events", events), 422, "invalid", "body")
    assert device.report(*events[:50])["accepted"] == 50
    assert device.report() == {"accepted": 0, "duplicates": 0}


INVALID_EVENTS = [
    ({"event_id": "1"}, "0.event_id"),
    ({"seq": -1}, "0.seq"),
    ({"seq": 2**31}, "0.seq"),
    ({"state": ""}, "0.state"),
    ({"detail": "x" * 1025}, "0.detail"),
    ({"bytes": 2**53}, "0.bytes"),
    ({"metrics": {"load_ms": "fast"}}, "0.metrics.load_ms"),
]


def test_an_invalid_event_is_refused_with_the_path_of_the_field(live):
    device = enroll(live)
    for change, field in INVALID_EVENTS:
        response = device.post("/v1/model/events", [device.event(None, "failed") | change])
        refused(response, 422, "invalid", field)


@pytest.mark.parametrize(
    "identifier",
    [
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
        "00000000-0000-7000-8000-000000000001",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    ],
)
def test_events_whose_ids_have_an_implausible_time_are_deduplicated(live, identifier):
    device = enroll(live)
    event = device.event(None, "metrics") | {"event_id": identifier}
    assert device.report(event)["accepted"] == 1
    assert device.report(event)["duplicates"] == 1
    assert device.finish(None, "metrics")["accepted"] == 1


def test_events_are_stored_in_the_partition_of_the_day_in_their_id(live):
    device = enroll(live)
    yesterday = event_id(time.time() - 86_400)
    device.report(device.event(None, "metrics") | {"event_id": yesterday}, device.event(None, "metrics"))
    query = "select tableoid::regclass::text as part, day from events order by day"
    rows = actors.rows(live, query)
    assert [row["part"] for row in rows] == [f"events_{row['day']:%Y%m%d}" for row in rows]
    assert (rows[1]["day"] - rows[0]["day"]).days == 1


def test_only_devices_may_report_events(live):
    refused(live.client.post("/v1/model/events", json=[]), 401, "unauthorized")
    refused(Device(live, token=live.tokens["admin"]).post("/v1/model/events", []), 401, "unauthorized")


def test_the_outcomes_of_many_devices_are_all_counted(live):
    publish(live, "v1", DATA)
    roll_out(live, "r", "v1")
    for number in range(10):
        one = enroll(live, f"d{number}")
        one.finish(one.poll()["attempt_id"], "committed" if number % 2 else "failed")
    outcomes = actors.rollout(live, "r")["stages"][0]["outcomes"]
    assert (outcomes["offered"], outcomes["committed"], outcomes["failed"]) == (10, 5, 5)
    assert len(actors.rows(live, "select 1 from events")) == 10
    assert ok(live.client.get("/health"))


def test_an_event_renews_the_lease_of_an_open_attempt(device):
    attempt = device.poll()["attempt_id"]
    actors.write(device.live, "update attempts set lease_until = now() + interval '1 minute'")
    device.report(device.event(attempt, "acknowledged", code="conditions_unmet"))
    (row,) = actors.rows(
        device.live, "select lease_until > now() + interval '1 hour' as renewed, closed_at from attempts"
    )
    assert (row["renewed"], row["closed_at"]) == (True, None)
