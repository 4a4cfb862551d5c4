from datetime import timedelta

import numpy as np
import pytest

from service.domain.gates import stage_evaluation
from service.domain.gates.definitions import MetricGate, RateGate, StageRequirements
from service.domain.gates.metrics import ArmMoments, Moments
from service.domain.gates.observations import Observations
from service.domain.gates.outcome_counts import OutcomeCounts
from service.domain.gates.stage_evaluation import ActiveStage, evaluate_stage

HOUR = timedelta(hours=1)
FAILURES = RateGate("failure_rate", 0.05)
GOOD, BAD = (
    OutcomeCounts(offered=100, committed=99, failed=1),
    OutcomeCounts(offered=100, committed=60, failed=40),
)


def evaluate(gates=(), required=None, own=None, everyone=None, age=HOUR):
    """Evaluate the second stage; `own` are the outcomes of its devices, `everyone` those of both stages."""
    own = OutcomeCounts(committed=10) if own is None else own
    before = (everyone or own).minus(own)
    return evaluate_stage(
        ActiveStage(1, gates, required or StageRequirements(), age),
        Observations({(1, ""): own, (0, ""): before}),
    )


def evaluate_classes(paused=(), gates=(FAILURES,), **device_classes):
    observations = Observations({(0, name): counts for name, counts in device_classes.items()})
    return evaluate_stage(ActiveStage(0, gates, StageRequirements(), HOUR), observations, paused)


def values(mean, count, spread=5):
    """Half of the values below the mean and half above."""
    low, high = mean - spread, mean + spread
    return Moments(count, count // 2 * (low + high), count // 2 * (low * low + high * high))


def test_a_good_stage_advances():
    assert evaluate([RateGate("failure_rate", 0.1)]).decision == "advance"


def test_a_stage_without_reports_waits():
    assert evaluate([RateGate("failure_rate", 1.0)], own=OutcomeCounts(offered=500)).decision == "wait"


def test_a_stage_waits_for_its_minutes():
    assert evaluate(required=StageRequirements(minutes=61)).decision == "wait"
    assert evaluate(required=StageRequirements(minutes=60)).decision == "advance"


def test_a_stage_waits_for_reports_of_its_own_devices():
    assert (
        evaluate(required=StageRequirements(reports=11), everyone=OutcomeCounts(committed=10_010)).decision
        == "wait"
    )
    assert evaluate(required=StageRequirements(reports=10)).decision == "advance"


def test_a_stage_that_requires_approval_waits_for_it():
    found = evaluate(required=StageRequirements(approval=True))
    assert found.decision == "wait"
    assert "promote" in found.reason


def test_a_breach_does_not_wait_for_the_requirements():
    bad = OutcomeCounts(committed=5, failed=5)
    assert evaluate([RateGate("failure_rate", 0.1)], StageRequirements(minutes=999), bad).decision == "breach"


def test_a_breach_in_an_earlier_stage_counts():
    before = OutcomeCounts(committed=5, failed=5)
    assert (
        evaluate([RateGate("failure_rate", 0.1)], own=OutcomeCounts(), everyone=before).decision == "breach"
    )


def test_a_timeout_counts_as_a_failure():
    silent = OutcomeCounts(committed=5, timed_out=5)
    assert evaluate([RateGate("failure_rate", 0.1)], own=silent).decision == "breach"
    assert evaluate([RateGate("timeout_rate", 0.1)], own=silent).decision == "breach"


def test_each_rate_counts_its_own_outcomes():
    crashed = OutcomeCounts(committed=5, rolled_back=5)
    assert evaluate([RateGate("timeout_rate", 0)], own=crashed).decision == "advance"
    assert evaluate([RateGate("rollback_rate", 0.1)], own=crashed).decision == "breach"


def test_a_single_failure_waits_and_does_not_breach():
    assert (
        evaluate([RateGate("failure_rate", 0.0)], own=OutcomeCounts(committed=1, failed=1)).decision == "wait"
    )
    assert (
        evaluate([RateGate("failure_rate", 0.0)], own=OutcomeCounts(committed=1, failed=2)).decision
        == "breach"
    )


def test_a_rate_above_its_bound_waits_until_the_evidence_is_convincing():
    assert (
        evaluate([RateGate("failure_rate", 0.25)], own=OutcomeCounts(committed=2, failed=2)).decision
        == "wait"
    )
    assert (
        evaluate([RateGate("failure_rate", 0.25)], own=OutcomeCounts(committed=20, failed=20)).decision
        == "breach"
    )


def test_a_rate_at_its_bound_passes():
    assert (
        evaluate([RateGate("failure_rate", 0.5)], own=OutcomeCounts(committed=5, failed=5)).decision
        == "advance"
    )


def test_a_breach_names_the_gate_and_the_rate():
    assert (
        evaluate([RateGate("crash_rate", 0.1)], own=OutcomeCounts(committed=5, rolled_back=5)).reason
        == "crash_rate 5/10 is above 10.00%"
    )


def test_a_gate_without_reports_waits_even_if_none_are_required():
    assert (
        evaluate([FAILURES], StageRequirements(reports=0), own=OutcomeCounts(offered=9)).cause
        == "insufficient_data:failure_rate"
    )


def test_a_metric_gate_without_values_waits():
    found = evaluate([MetricGate("load_ms", "up", 4000, against_control=False)])
    assert (found.decision, found.reason) == ("wait", "load_ms: 0 of 100 values")


def test_a_stage_waits_for_its_coverage():
    own = OutcomeCounts(offered=100, committed=40)
    assert evaluate(required=StageRequirements(min_coverage=0.5), own=own).cause == "coverage"
    assert evaluate(required=StageRequirements(min_coverage=0.4), own=own).decision == "advance"


def test_withdrawn_attempts_do_not_lower_the_coverage():
    own = OutcomeCounts(offered=100, committed=40, withdrawn=50)
    assert own.coverage == 0.8
    assert evaluate(required=StageRequirements(min_coverage=0.8), own=own).decision == "advance"


def test_a_failing_device_class_is_found_and_the_others_advance():
    found = evaluate_classes(a=GOOD, b=GOOD, c=BAD)
    assert (found.decision, set(found.failing_classes)) == ("advance", {"c"})
    assert found.failing_classes["c"].device_class == "c"
    assert found.stage_counts == GOOD.plus(GOOD)


def test_reports_of_a_paused_class_do_not_count():
    found = evaluate_classes(paused=["c"], a=GOOD, b=GOOD, c=BAD)
    assert (found.decision, found.failing_classes) == ("advance", {})


def test_a_version_that_fails_on_most_devices_is_in_breach():
    found = evaluate_classes(a=BAD, b=BAD, c=GOOD)
    assert (found.decision, found.failing_classes) == ("breach", {})


def test_the_version_is_in_breach_once_too_few_classes_are_left():
    found = evaluate_classes(paused=["c"], a=GOOD, b=BAD, c=BAD.plus(BAD))
    assert (found.decision, found.cause) == ("breach", "gate:failure_rate")
    assert found.reason == "failure_rate 41/200 is above 5.00%"


def test_too_few_other_devices_do_not_show_that_the_version_is_good():
    assert evaluate_classes(a=BAD, b=OutcomeCounts(offered=99, committed=99)).decision == "breach"
    assert evaluate_classes(a=BAD, b=OutcomeCounts(offered=100, committed=100)).failing_classes


def test_a_single_device_class_is_the_whole_fleet():
    assert evaluate_classes(a=BAD).decision == "breach"
    assert evaluate_classes(a=BAD).failing_classes == {}


def test_a_breach_of_the_fleet_is_traced_to_a_class_with_less_evidence():
    """The whole fleet is in breach with less evidence; then the class that causes it is found."""
    stage, failing = (
        ActiveStage(0, [FAILURES], StageRequirements(), HOUR),
        OutcomeCounts(offered=40, committed=30, failed=10),
    )
    alone = Observations({(0, "c"): failing, (0, "a"): OutcomeCounts(offered=1, committed=1)})
    assert stage_evaluation._classes_in_breach(stage, alone, stage_evaluation.ALPHA_DEVICE_CLASSES / 41) == {}
    found = evaluate_classes(a=OutcomeCounts(offered=40, committed=38, failed=2), c=failing)
    assert (found.decision, set(found.failing_classes)) == ("advance", {"c"})


def test_a_device_class_can_fail_by_its_metrics():
    slow = MetricGate("load_ms", "up", 0.1, against_control=True)
    values_by_class = {
        ("everyone", name): ArmMoments(values(170 if name == "c" else 160, 2000), values(160, 2000))
        for name in "abc"
    }
    seen = Observations({(0, name): GOOD for name in "abc"}, {"load_ms": values_by_class})
    found = evaluate_stage(ActiveStage(0, [slow], StageRequirements(), HOUR), seen)
    assert (found.decision, set(found.failing_classes)) == ("advance", {"c"})
    assert "load_ms is +64.9% against control" in found.failing_classes["c"].summary


def test_a_comparison_with_a_wrong_sample_ratio_waits():
    slow = MetricGate("load_ms", "up", 0.1, against_control=True)
    seen = Observations(
        {(0, ""): GOOD},
        {"load_ms": {("everyone", ""): ArmMoments(values(160, 500), values(160, 500))}},
        {0.5: (300, 700)},
    )
    found = evaluate_stage(ActiveStage(0, [slow], StageRequirements(), HOUR), seen)
    assert (found.decision, found.cause) == ("wait", "sample_ratio")
    assert found.reason.startswith(
        "300 of 1,000 devices that report metrics were admitted, about 500 were expected"
    )
    assert evaluate_stage(ActiveStage(0, [FAILURES], StageRequirements(), HOUR), seen).decision == "advance"


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_sample_ratio_is_not_checked_if_all_or_no_devices_are_admitted(share):
    slow = MetricGate("load_ms", "up", 0.1, against_control=True)
    values_by_class = {"load_ms": {("everyone", ""): ArmMoments(values(160, 500), values(160, 500))}}
    seen = Observations({(0, ""): GOOD}, values_by_class, {share: (300, 700)})
    assert evaluate_stage(ActiveStage(0, [slow], StageRequirements(), HOUR), seen).decision == "advance"


def simulate(rates, runs=100, reports=2000, evaluate_every=40, seed=3):
    """The result of each run: `breach`, the first failing classes, or None; devices come in any order."""
    rng, stage = (
        np.random.default_rng(seed),
        ActiveStage(0, [FAILURES], StageRequirements(reports=10**6), HOUR),
    )
    names, found = [f"s{number}" for number in range(len(rates))], []
    for _ in range(runs):
        of, ends = rng.integers(len(rates), size=reports), range(evaluate_every, reports + 1, evaluate_every)
        failed = rng.random(reports) < np.asarray(rates)[of]
        observed = (_observations(names, of[:end], failed[:end]) for end in ends)
        evaluations = (evaluate_stage(stage, seen) for seen in observed)
        first = next((one for one in evaluations if one.decision == "breach" or one.failing_classes), None)
        found.append(first and (first.decision if first.decision == "breach" else set(first.failing_classes)))
    return found


def _observations(names, of, failed):
    reports, failures = np.bincount(of, minlength=len(names)), np.bincount(of, failed, minlength=len(names))
    return Observations(
        {
            (0, name): OutcomeCounts(offered=int(n), committed=int(n - b), failed=int(b))
            for name, n, b in zip(names, reports, failures, strict=True)
        }
    )


def test_a_version_at_its_bound_in_twelve_classes_is_rarely_stopped_or_paused():
    acted = [found for found in simulate([0.05] * 12) if found is not None]
    assert len(acted) <= 5


def test_the_failing_one_of_ten_classes_is_found():
    found = simulate([0.01] * 9 + [0.4], runs=60)
    assert found.count({"s9"}) >= 57


def test_a_version_that_fails_in_every_class_is_in_breach():
    found = simulate([0.2] * 10, runs=60)
    assert found.count("breach") >= 57
