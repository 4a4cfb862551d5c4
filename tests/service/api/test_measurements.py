"""What devices measure finds its rollout, its arm and its class."""

import pytest

from service.domain.gates.metrics import MAX_CUSTOM_METRICS
from service.domain.targeting.buckets import bucket
from tests.service.support import actors
from tests.service.support.actors import act, cohort, enroll, ok, publish, roll_out, set_up_once, stage

DATA = b"weights of the measurements"


@pytest.fixture
@set_up_once
def half(live):
    """v1 is everywhere; v2 goes to one half of all devices."""
    publish(live, "v1", DATA)
    publish(live, "v2", DATA + b"2")
    cohort(live)
    roll_out(live, "r", "v2", stage(percent=50, advance_when={"reports": 1000}))


def device(live, *, inside, **attributes):
    """A device whom the hash lets in, or leaves out."""
    salt = actors.rows(live, "select salt from rollouts where name = 'r'")[0]["salt"]
    name = next(f"d{n}" for n in range(1000) if (bucket(salt, f"d{n}") < 5000) is inside)
    return enroll(live, name, **attributes)


def measure(one, version="v1", attempt=None, model="m", **metrics):
    one.finish(attempt, "metrics", model=model, version=version, metrics=metrics)


def counted(live, rollout="r"):
    """Rows of metric, arm, device_class and how many values."""
    query = (
        "select metric, arm, device_class, count from metric_totals join rollouts on rollouts.id = rollout_id "
        "where name = :name order by 1, 2, 3"
    )
    return [tuple(row.values()) for row in actors.rows(live, query, name=rollout)]


def shares(live):
    query = (
        "select arm, bucket, sum(count) as n from metric_histograms where metric = '' group by 1, 2 order by 1"
    )
    return [tuple(row.values()) for row in actors.rows(live, query)]


def test_a_device_with_the_version_is_treated_and_one_that_was_left_out_is_control(half):
    treatment, control = device(half, inside=True), device(half, inside=False, soc="a")
    attempt = treatment.poll("v1", attributes={"soc": "b"})["attempt_id"]
    treatment.finish(attempt, "committed", metrics={"load_ms": 100})
    measure(control, load_ms=90)
    assert counted(half) == [("load_ms", "control", "soc=a", 1), ("load_ms", "treatment", "soc=b", 1)]


def test_who_was_let_in_and_has_not_updated_is_in_neither_arm(half):
    measure(device(half, inside=True), load_ms=100)
    assert counted(half) == []


def test_what_a_device_says_after_its_attempt_still_counts_for_it(half):
    treatment = device(half, inside=True)
    attempt = treatment.poll("v1")["attempt_id"]
    treatment.finish(attempt, "committed")
    measure(treatment, "v2", attempt, quality=0.9)
    measure(treatment, "v2", load_ms=100)
    assert counted(half) == [("load_ms", "treatment", "", 1), ("quality", "treatment", "", 1)]


def test_a_device_counts_once_however_often_it_reports(half):
    control = device(half, inside=False)
    for value in (100, 5000, 5000):
        measure(control, load_ms=value)
    control.report(
        *[control.event(None, "metrics", model="m", version="v1", metrics={"load_ms": 9}) for _ in "ab"]
    )
    assert counted(half) == [("load_ms", "control", "", 1)]


def test_the_version_is_the_one_that_the_device_last_said_unless_the_report_says_so(half):
    control = device(half, inside=False)
    measure(control, None, load_ms=100)
    assert counted(half) == []
    control.poll("v1")
    actors.flush(half)
    measure(control, None, load_ms=100)
    assert counted(half) == [("load_ms", "control", "", 1)]


def test_a_report_of_another_version_than_the_attempts_is_not_the_attempts(half):
    treatment = device(half, inside=True)
    attempt = treatment.poll("v1")["attempt_id"]
    measure(treatment, "v1", attempt, load_ms=100)
    assert counted(half) == []


def test_an_attempt_of_another_device_says_nothing(half):
    treatment, control = device(half, inside=True), device(half, inside=False)
    attempt = treatment.poll("v1")["attempt_id"]
    measure(control, "v2", attempt, load_ms=100)
    assert counted(half) == [("load_ms", "treatment", "", 1)]
    query = "select stage, arm from metric_totals"
    assert len(actors.rows(half, query)) == 1


def test_values_that_cannot_be_are_kept_and_counted_nowhere(half):
    control = device(half, inside=False)
    measure(control, load_ms=-5, quality=0)
    assert counted(half) == [("quality", "control", "", 1)]


def test_names_of_the_app_are_counted_up_to_a_bound(half):
    control = device(half, inside=False)
    for start in range(0, MAX_CUSTOM_METRICS + 20, 20):
        measure(control, **{f"own_{number}": 1.0 for number in range(start, start + 20)})
    assert len(counted(half)) == MAX_CUSTOM_METRICS
    assert len(actors.rows(half, "select 1 from metric_names")) == MAX_CUSTOM_METRICS
    measure(control, load_ms=1.0)
    assert len(counted(half)) == MAX_CUSTOM_METRICS + 1


def test_a_rollout_that_is_over_is_told_nothing_by_devices_without_it(half):
    ok(act(half, "r", "halt", "enough"))
    measure(device(half, inside=False), load_ms=100)
    assert counted(half) == []


def test_devices_that_measure_are_counted_by_the_chance_that_they_had(half):
    treatment, control = device(half, inside=True), device(half, inside=False)
    for one in (treatment, control):
        for value in (1, 2):
            measure(one, load_ms=value, quality=1)
    assert shares(half) == [("in", 5000, 1), ("out", 5000, 1)]


def test_the_report_at_the_end_of_an_attempt_is_left_out_of_the_ratio(half):
    treatment = device(half, inside=True)
    treatment.finish(treatment.poll("v1")["attempt_id"], "committed", metrics={"load_ms": 100})
    assert shares(half) == []


def test_a_report_touches_the_rollouts_about_which_it_says_something(half):
    trigger = actors.process(half).gate_trigger
    treatment, control = device(half, inside=True), device(half, inside=False)
    attempt = treatment.poll("v1")["attempt_id"]
    treatment.finish(attempt, "downloading")
    assert trigger._waiting == set()
    measure(control, load_ms=1)
    (found,) = actors.rows(half, "select id from rollouts")
    assert trigger._waiting == {found["id"]}
    trigger._waiting.clear()
    treatment.finish(attempt, "rolled_back")
    assert trigger._waiting == {found["id"]}
