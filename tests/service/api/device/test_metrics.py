"""Metrics that devices report are counted for the right rollout, arm and device class."""

import pytest

from service.domain.gates.metrics import MAX_CUSTOM_METRICS
from service.domain.targeting.buckets import bucket
from tests.service.support import actors
from tests.service.support.actors import act, cohort, enroll, ok, publish, roll_out, set_up_once, stage

DATA = b"weights of the measurements"


@pytest.fixture
@set_up_once
def rollout_to_half(live):
    """Two versions, and a rollout of the second one to half of the devices."""
    publish(live, "v1", DATA)
    publish(live, "v2", DATA + b"2")
    cohort(live)
    roll_out(live, "r", "v2", stage(percent=50, advance_when={"reports": 1000}))


def enroll_device(live, *, inside, **attributes):
    """An enrolled device whose bucket is inside or outside of the percentage."""
    salt = actors.rows(live, "select salt from rollouts where name = 'r'")[0]["salt"]
    name = next(f"d{n}" for n in range(1000) if (bucket(salt, f"d{n}") < 5000) is inside)
    return enroll(live, name, **attributes)


def report_metrics(device, version="v1", attempt=None, model="m", **metrics):
    device.finish(attempt, "metrics", model=model, version=version, metrics=metrics)


def metric_counts(live, rollout="r"):
    """Rows of (metric, arm, device class, number of values)."""
    query = (
        "select metric, arm, device_class, count from metric_totals join rollouts on rollouts.id = rollout_id "
        "where name = :name order by 1, 2, 3"
    )
    return [tuple(row.values()) for row in actors.rows(live, query, name=rollout)]


def arm_counts(live):
    """Rows of (arm, bucket of the histogram, number of reporting devices)."""
    query = "select arm, bucket, sum(count) as n from metric_histograms where metric = '' group by 1, 2 order by 1"
    return [tuple(row.values()) for row in actors.rows(live, query)]


def test_updated_devices_are_the_treatment_arm_and_excluded_devices_the_control_arm(rollout_to_half):
    treatment, control = (
        enroll_device(rollout_to_half, inside=True),
        enroll_device(rollout_to_half, inside=False, soc="a"),
    )
    attempt = treatment.poll("v1", attributes={"soc": "b"})["attempt_id"]
    treatment.finish(attempt, "committed", metrics={"load_ms": 100})
    report_metrics(control, load_ms=90)
    assert metric_counts(rollout_to_half) == [
        ("load_ms", "control", "soc=a", 1),
        ("load_ms", "treatment", "soc=b", 1),
    ]


def test_an_included_device_that_has_not_updated_is_in_neither_arm(rollout_to_half):
    report_metrics(enroll_device(rollout_to_half, inside=True), load_ms=100)
    assert metric_counts(rollout_to_half) == []


def test_metrics_after_the_end_of_an_attempt_count_for_its_rollout(rollout_to_half):
    treatment = enroll_device(rollout_to_half, inside=True)
    attempt = treatment.poll("v1")["attempt_id"]
    treatment.finish(attempt, "committed")
    report_metrics(treatment, "v2", attempt, quality=0.9)
    report_metrics(treatment, "v2", load_ms=100)
    assert metric_counts(rollout_to_half) == [
        ("load_ms", "treatment", "", 1),
        ("quality", "treatment", "", 1),
    ]


def test_a_device_that_reports_repeatedly_counts_once(rollout_to_half):
    control = enroll_device(rollout_to_half, inside=False)
    for value in (100, 5000, 5000):
        report_metrics(control, load_ms=value)
    control.report(
        *[control.event(None, "metrics", model="m", version="v1", metrics={"load_ms": 9}) for _ in "ab"]
    )
    assert metric_counts(rollout_to_half) == [("load_ms", "control", "", 1)]


def test_a_report_without_a_version_uses_the_version_of_the_last_poll(rollout_to_half):
    control = enroll_device(rollout_to_half, inside=False)
    report_metrics(control, None, load_ms=100)
    assert metric_counts(rollout_to_half) == []
    control.poll("v1")
    actors.flush(rollout_to_half)
    report_metrics(control, None, load_ms=100)
    assert metric_counts(rollout_to_half) == [("load_ms", "control", "", 1)]


def test_metrics_of_another_version_than_the_attempt_offered_do_not_count_for_it(rollout_to_half):
    treatment = enroll_device(rollout_to_half, inside=True)
    attempt = treatment.poll("v1")["attempt_id"]
    report_metrics(treatment, "v1", attempt, load_ms=100)
    assert metric_counts(rollout_to_half) == []


def test_metrics_with_the_attempt_of_another_device_do_not_count_for_it(rollout_to_half):
    treatment, control = (
        enroll_device(rollout_to_half, inside=True),
        enroll_device(rollout_to_half, inside=False),
    )
    attempt = treatment.poll("v1")["attempt_id"]
    report_metrics(control, "v2", attempt, load_ms=100)
    assert metric_counts(rollout_to_half) == [("load_ms", "treatment", "", 1)]
    query = "select stage, arm from metric_totals"
    assert len(actors.rows(rollout_to_half, query)) == 1


def test_impossible_values_are_not_counted(rollout_to_half):
    control = enroll_device(rollout_to_half, inside=False)
    report_metrics(control, load_ms=-5, quality=0)
    assert metric_counts(rollout_to_half) == [("quality", "control", "", 1)]


def test_the_number_of_custom_metrics_is_limited(rollout_to_half):
    control = enroll_device(rollout_to_half, inside=False)
    for start in range(0, MAX_CUSTOM_METRICS + 20, 20):
        report_metrics(control, **{f"own_{number}": 1.0 for number in range(start, start + 20)})
    assert len(metric_counts(rollout_to_half)) == MAX_CUSTOM_METRICS
    assert len(actors.rows(rollout_to_half, "select 1 from metric_names")) == MAX_CUSTOM_METRICS
    report_metrics(control, load_ms=1.0)
    assert len(metric_counts(rollout_to_half)) == MAX_CUSTOM_METRICS + 1


def test_a_halted_rollout_counts_no_metrics_of_control_devices(rollout_to_half):
    ok(act(rollout_to_half, "r", "halt", "enough"))
    report_metrics(enroll_device(rollout_to_half, inside=False), load_ms=100)
    assert metric_counts(rollout_to_half) == []


def test_reporting_devices_are_counted_by_arm_and_percentage(rollout_to_half):
    treatment, control = (
        enroll_device(rollout_to_half, inside=True),
        enroll_device(rollout_to_half, inside=False),
    )
    for device in (treatment, control):
        for value in (1, 2):
            report_metrics(device, load_ms=value, quality=1)
    assert arm_counts(rollout_to_half) == [("in", 5000, 1), ("out", 5000, 1)]


def test_metrics_of_the_terminal_event_are_excluded_from_the_sample_ratio(rollout_to_half):
    treatment = enroll_device(rollout_to_half, inside=True)
    treatment.finish(treatment.poll("v1")["attempt_id"], "committed", metrics={"load_ms": 100})
    assert arm_counts(rollout_to_half) == []


def test_terminal_events_and_metrics_trigger_gate_evaluations(rollout_to_half):
    trigger = actors.process(rollout_to_half).gate_trigger
    treatment, control = (
        enroll_device(rollout_to_half, inside=True),
        enroll_device(rollout_to_half, inside=False),
    )
    attempt = treatment.poll("v1")["attempt_id"]
    treatment.finish(attempt, "downloading")
    assert trigger._waiting == set()
    report_metrics(control, load_ms=1)
    (rollout,) = actors.rows(rollout_to_half, "select id from rollouts")
    assert trigger._waiting == {rollout["id"]}
    trigger._waiting.clear()
    treatment.finish(attempt, "rolled_back")
    assert trigger._waiting == {rollout["id"]}
