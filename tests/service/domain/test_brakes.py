from datetime import timedelta

import numpy as np
import pytest

from service.domain import brakes
from service.domain.brakes import Seen, Stage, judge
from service.domain.findings import Tally
from service.domain.gates import Gate, Hold, MeasureGate
from service.domain.measures import Compared, Moments

HOUR = timedelta(hours=1)
FAILURES = Gate("failure_rate", 0.05)
GOOD, BAD = Tally(offered=100, committed=99, failed=1), Tally(offered=100, committed=60, failed=40)


def verdict(gates=(), hold=None, own=None, everyone=None, age=HOUR):
    """The second stage, `own` being the outcomes of its devices and `everyone` those of both stages."""
    own = Tally(committed=10) if own is None else own
    before = (everyone or own).minus(own)
    return judge(Stage(1, gates, hold or Hold(), age), Seen({(1, ""): own, (0, ""): before}))


def of_strata(held=(), gates=(FAILURES,), **strata):
    seen = Seen({(0, name): tally for name, tally in strata.items()})
    return judge(Stage(0, gates, Hold(), HOUR), seen, held)


def values(mean, count, spread=5):
    """A histogram of two heaps."""
    low, high = mean - spread, mean + spread
    return Moments(count, count // 2 * (low + high), count // 2 * (low * low + high * high))


def test_a_stage_that_does_well_goes_on():
    assert verdict([Gate("failure_rate", 0.1)]).outcome == "advance"


def test_no_report_is_never_healthy():
    assert verdict([Gate("failure_rate", 1.0)], own=Tally(offered=500)).outcome == "hold"


def test_a_stage_waits_for_its_minutes():
    assert verdict(hold=Hold(minutes=61)).outcome == "hold"
    assert verdict(hold=Hold(minutes=60)).outcome == "advance"


def test_a_stage_waits_for_reports_of_its_own_devices():
    assert verdict(hold=Hold(reports=11), everyone=Tally(committed=10_010)).outcome == "hold"
    assert verdict(hold=Hold(reports=10)).outcome == "advance"


def test_a_stage_that_asks_for_a_person_waits_for_one():
    held = verdict(hold=Hold(approval=True))
    assert held.outcome == "hold"
    assert "promote" in held.reason


def test_a_breach_is_seen_before_the_stage_is_ripe():
    bad = Tally(committed=5, failed=5)
    assert verdict([Gate("failure_rate", 0.1)], Hold(minutes=999), bad).outcome == "breach"


def test_a_breach_in_an_earlier_stage_counts():
    before = Tally(committed=5, failed=5)
    assert verdict([Gate("failure_rate", 0.1)], own=Tally(), everyone=before).outcome == "breach"


def test_silence_counts_as_failure():
    silent = Tally(committed=5, timed_out=5)
    assert verdict([Gate("failure_rate", 0.1)], own=silent).outcome == "breach"
    assert verdict([Gate("timeout_rate", 0.1)], own=silent).outcome == "breach"


def test_each_rate_counts_its_own_outcomes():
    crashed = Tally(committed=5, rolled_back=5)
    assert verdict([Gate("timeout_rate", 0)], own=crashed).outcome == "advance"
    assert verdict([Gate("rollback_rate", 0.1)], own=crashed).outcome == "breach"


def test_one_bad_report_is_an_accident_that_holds_and_does_not_halt():
    assert verdict([Gate("failure_rate", 0.0)], own=Tally(committed=1, failed=1)).outcome == "hold"
    assert verdict([Gate("failure_rate", 0.0)], own=Tally(committed=1, failed=2)).outcome == "breach"


def test_a_rate_above_its_bound_holds_until_the_evidence_convinces():
    assert verdict([Gate("failure_rate", 0.25)], own=Tally(committed=2, failed=2)).outcome == "hold"
    assert verdict([Gate("failure_rate", 0.25)], own=Tally(committed=20, failed=20)).outcome == "breach"


def test_a_rate_at_its_bound_is_no_breach():
    assert verdict([Gate("failure_rate", 0.5)], own=Tally(committed=5, failed=5)).outcome == "advance"


def test_a_breach_says_which_gate_and_by_how_much():
    assert (
        verdict([Gate("crash_rate", 0.1)], own=Tally(committed=5, rolled_back=5)).reason
        == "crash_rate 5/10 is above 10.00%"
    )


def test_a_gate_without_a_report_waits_even_where_the_hold_asks_for_none():
    assert verdict([FAILURES], Hold(reports=0), own=Tally(offered=9)).cause == "waits:failure_rate"


def test_a_gate_on_a_measurement_without_values_waits():
    found = verdict([MeasureGate("load_ms", "up", 4000, control=False)])
    assert (found.outcome, found.reason) == ("hold", "load_ms: 0 of 100 values")


def test_a_stage_waits_until_enough_of_its_devices_have_reported():
    own = Tally(offered=100, committed=40)
    assert verdict(hold=Hold(min_coverage=0.5), own=own).cause == "coverage"
    assert verdict(hold=Hold(min_coverage=0.4), own=own).outcome == "advance"


def test_what_was_withdrawn_is_not_waited_for():
    own = Tally(offered=100, committed=40, withdrawn=50)
    assert own.coverage == 0.8
    assert verdict(hold=Hold(min_coverage=0.8), own=own).outcome == "advance"


def test_one_failing_stratum_is_blamed_and_the_rest_goes_on():
    found = of_strata(a=GOOD, b=GOOD, c=BAD)
    assert (found.outcome, set(found.blamed)) == ("advance", {"c"})
    assert found.blamed["c"].stratum == "c"
    assert found.own == GOOD.plus(GOOD)


def test_what_a_held_stratum_reports_counts_no_more():
    found = of_strata(held=["c"], a=GOOD, b=GOOD, c=BAD)
    assert (found.outcome, found.blamed) == ("advance", {})


def test_where_most_fail_the_version_is_at_fault_and_no_stratum():
    found = of_strata(a=BAD, b=BAD, c=GOOD)
    assert (found.outcome, found.blamed) == ("breach", {})


def test_strata_fall_one_after_the_other_until_the_rest_is_too_small_to_vouch():
    found = of_strata(held=["c"], a=GOOD, b=BAD, c=BAD.plus(BAD))
    assert (found.outcome, found.cause) == ("breach", "gate:failure_rate")
    assert found.reason == "failure_rate 41/200 is above 5.00%"


def test_a_handful_of_other_devices_does_not_vouch_for_a_version():
    assert of_strata(a=BAD, b=Tally(offered=99, committed=99)).outcome == "breach"
    assert of_strata(a=BAD, b=Tally(offered=100, committed=100)).blamed


def test_the_only_stratum_is_the_whole():
    assert of_strata(a=BAD).outcome == "breach"
    assert of_strata(a=BAD).blamed == {}


def test_a_stratum_that_makes_the_whole_fail_is_found_before_it_is_certain_by_itself():
    """The whole speaks first, since its evidence needs less: then the guilty one is looked for."""
    stage, failing = Stage(0, [FAILURES], Hold(), HOUR), Tally(offered=40, committed=30, failed=10)
    alone = Seen({(0, "c"): failing, (0, "a"): Tally(offered=1, committed=1)})
    assert brakes._convicted(stage, alone, brakes.ALPHA_STRATA / 41) == {}
    found = of_strata(a=Tally(offered=40, committed=38, failed=2), c=failing)
    assert (found.outcome, set(found.blamed)) == ("advance", {"c"})


def test_a_stratum_is_blamed_for_what_it_measures_too():
    slow = MeasureGate("load_ms", "up", 0.1, control=True)
    blocks = {
        ("everyone", name): Compared(values(170 if name == "c" else 160, 2000), values(160, 2000))
        for name in "abc"
    }
    seen = Seen({(0, name): GOOD for name in "abc"}, {"load_ms": blocks})
    found = judge(Stage(0, [slow], Hold(), HOUR), seen)
    assert (found.outcome, set(found.blamed)) == ("advance", {"c"})
    assert "load_ms is +64.9% against control" in found.blamed["c"].said


def test_a_comparison_of_wrongly_divided_devices_is_not_trusted():
    slow = MeasureGate("load_ms", "up", 0.1, control=True)
    seen = Seen(
        {(0, ""): GOOD},
        {"load_ms": {("everyone", ""): Compared(values(160, 500), values(160, 500))}},
        {0.5: (300, 700)},
    )
    found = judge(Stage(0, [slow], Hold(), HOUR), seen)
    assert (found.outcome, found.cause) == ("hold", "sample_ratio")
    assert found.reason.startswith(
        "300 of 1,000 devices that measure have been let in, about 500 should have"
    )
    assert judge(Stage(0, [FAILURES], Hold(), HOUR), seen).outcome == "advance"


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_where_all_or_none_are_let_in_there_is_nothing_to_divide(share):
    slow = MeasureGate("load_ms", "up", 0.1, control=True)
    blocks = {"load_ms": {("everyone", ""): Compared(values(160, 500), values(160, 500))}}
    seen = Seen({(0, ""): GOOD}, blocks, {share: (300, 700)})
    assert judge(Stage(0, [slow], Hold(), HOUR), seen).outcome == "advance"


def simulated(rates, runs=100, reports=2000, look_every=40, seed=3):
    """What became of each run: `breach`, the strata that were blamed first, or None; devices come in any order."""
    rng, stage = np.random.default_rng(seed), Stage(0, [FAILURES], Hold(reports=10**6), HOUR)
    names, found = [f"s{number}" for number in range(len(rates))], []
    for _ in range(runs):
        of, ends = rng.integers(len(rates), size=reports), range(look_every, reports + 1, look_every)
        failed = rng.random(reports) < np.asarray(rates)[of]
        looks = (_tallies(names, of[:end], failed[:end]) for end in ends)
        verdicts = (judge(stage, seen) for seen in looks)
        acted = next((verdict for verdict in verdicts if verdict.outcome == "breach" or verdict.blamed), None)
        found.append(acted and (acted.outcome if acted.outcome == "breach" else set(acted.blamed)))
    return found


def _tallies(names, of, failed):
    many, bad = np.bincount(of, minlength=len(names)), np.bincount(of, failed, minlength=len(names))
    return Seen(
        {
            (0, name): Tally(offered=int(n), committed=int(n - b), failed=int(b))
            for name, n, b in zip(names, many, bad, strict=True)
        }
    )


def test_a_version_at_its_bound_in_twelve_strata_is_hardly_ever_stopped_nor_any_of_them_held():
    acted = [found for found in simulated([0.05] * 12) if found is not None]
    assert len(acted) <= 5


def test_one_of_ten_strata_that_fails_is_the_one_that_is_held_and_the_rest_goes_on():
    found = simulated([0.01] * 9 + [0.4], runs=60)
    assert found.count({"s9"}) >= 57


def test_a_version_that_fails_everywhere_is_stopped_and_no_stratum_blamed_for_it():
    found = simulated([0.2] * 10, runs=60)
    assert found.count("breach") >= 57
