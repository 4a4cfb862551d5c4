"""Pacing limits: open downloads, and bytes per hour."""

import pytest

from tests.service.support import actors
from tests.service.support.actors import (
    act,
    cohort,
    create_rollout,
    enroll,
    explain,
    fail_attempts,
    ok,
    poll_and_explain,
    publish,
    refused,
    roll_out,
    set_up_once,
)

DATA = b"weights of pacing"


@pytest.fixture
@set_up_once
def v1(live):
    """A service with one published version."""
    publish(live, "v1", DATA)


SIZE = 2**20

THREE_FILES_IN_FIVE_MINUTES = {"max_bytes_per_hour": 6 * 3 * SIZE}
"""A sixth of the hour's bytes, which five minutes may use, is the size of three files."""


def test_bytes_above_the_offered_size_are_charged_to_the_budget(live):
    publish(live, "v1", bytes(SIZE))
    roll_out(live, "r", "v1", policy={"pacing": THREE_FILES_IN_FIVE_MINUTES})
    device = enroll(live, "d1")
    attempt = device.poll()["attempt_id"]
    device.report(device.event(attempt, "downloading", bytes=SIZE // 2))
    assert bytes_last_hour(live, device) == SIZE
    device.report(device.event(attempt, "downloading", bytes=SIZE + 1000))
    device.report(device.event(attempt, "downloaded", bytes=SIZE + 3000))
    assert bytes_last_hour(live, device) == SIZE + 3000
    assert poll_and_explain(live, enroll(live, "d2"))["need_update"]
    assert poll_and_explain(live, enroll(live, "d3"))["reason"] == "throttled"


def test_a_device_that_reports_false_sizes_is_charged_at_most_two_downloads(live):
    publish(live, "v1", bytes(SIZE))
    roll_out(live, "r", "v1", policy={"pacing": THREE_FILES_IN_FIVE_MINUTES})
    device = enroll(live, "d1")
    attempt = device.poll()["attempt_id"]
    for reported_bytes in (2**40, 2**41, 2**42):
        device.report(device.event(attempt, "downloading", bytes=reported_bytes))
    assert bytes_last_hour(live, device) == 2 * SIZE
    assert poll_and_explain(live, enroll(live, "d2"))["need_update"]


def test_without_a_byte_limit_reported_bytes_are_not_charged(live):
    publish(live, "v1", bytes(SIZE))
    roll_out(live, "r", "v1", policy={"pacing": {"max_open_downloads": 5}})
    device = enroll(live, "d1")
    device.report(device.event(device.poll()["attempt_id"], "downloaded", bytes=3 * SIZE))
    assert actors.rows(live, "select bytes from bandwidth_usage") == [{"bytes": SIZE}]


def bytes_last_hour(live, device):
    return explain(live, device)["rollouts"][0]["pacing"]["bytes_last_hour"]


def test_offers_stop_at_the_limit_of_open_downloads(live, v1):
    roll_out(live, "r", "v1", policy={"pacing": {"max_open_downloads": 2}})
    first, second, third = (enroll(live, name) for name in ("p1", "p2", "p3"))
    responses = [poll_and_explain(live, device) for device in (first, second, third)]
    assert [response["reason"] for response in responses] == ["update", "update", "throttled"]
    assert 60 <= responses[2]["next_poll_s"] <= 3600
    assert first.poll()["attempt_id"] == responses[0]["attempt_id"], "an open attempt costs nothing again"
    explanation = explain(live, third)
    assert explanation["rollouts"][0]["pacing"]["downloading"] == 2
    assert explanation["retry_at"] is not None
    second.finish(responses[1]["attempt_id"], "failed")
    assert poll_and_explain(live, third)["need_update"]


def test_a_finished_download_frees_a_slot_before_the_attempt_ends(live, v1):
    roll_out(live, "r", "v1", policy={"pacing": {"max_open_downloads": 1}})
    first, second = enroll(live, "p1"), enroll(live, "p2")
    attempt = first.poll()["attempt_id"]
    first.finish(attempt, "downloading")
    assert second.poll()["reason"] == "throttled"
    first.finish(attempt, "staged")
    assert second.poll()["need_update"]


def test_offers_stop_at_the_limit_of_bytes_per_hour(live, v1):
    roll_out(live, "r", "v1", policy={"pacing": {"max_bytes_per_hour": 2 * len(DATA)}})
    responses = [poll_and_explain(live, enroll(live, f"p{number}")) for number in range(3)]
    assert [response["reason"] for response in responses] == ["update", "throttled", "throttled"]
    assert sum(row["bytes"] for row in actors.rows(live, "select bytes from bandwidth_usage")) == len(DATA)


def test_a_device_at_its_failure_limit_takes_no_download_slot(live, v1):
    roll_out(live, "r", "v1", policy={"pacing": {"max_open_downloads": 1}})
    broken = enroll(live, "broken")
    fail_attempts(broken, 3)
    assert broken.poll()["reason"] == "too_many_failures"
    assert enroll(live, "sound").poll()["need_update"]


def test_pacing_also_applies_after_the_rollout_is_completed(live, v1):
    roll_out(live, "r", "v1", policy={"pacing": {"max_open_downloads": 1}})
    assert enroll(live, "p1").poll()["need_update"]
    ok(act(live, "r", "promote", "enough"))
    assert actors.rollout(live, "r")["state"] == "completed"
    assert enroll(live, "p2").poll()["reason"] == "throttled"


def test_a_byte_limit_below_one_download_is_refused(live, v1):
    cohort(live)
    body = {"pacing": {"max_bytes_per_hour": len(DATA) - 1}}
    refused(
        create_rollout(live, "r", "v1", policy=body),
        422,
        "invalid_policy",
        "policy.pacing.max_bytes_per_hour",
    )
