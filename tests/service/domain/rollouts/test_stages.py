import pytest

from service.domain.gates.definitions import StageRequirements
from service.domain.rollouts.stages import MAX_STAGES, check_stages, stage_requirements
from service.errors import InvalidGate, InvalidStages


def stage(cohort="everyone", percent=100.0, **more):
    return {"cohort": cohort, "percent": percent, **more}


def path_of_fault(stages):
    with pytest.raises(InvalidStages) as refusal:
        check_stages(stages)
    return refusal.value.field


def test_stages_may_widen():
    check_stages([stage(percent=0.01), stage(percent=1), stage(percent=100)])


def test_stages_may_continue_with_another_cohort():
    check_stages([stage("internal", 100), stage("beta", 10), stage("everyone", 1), stage("beta", 50)])


@pytest.mark.parametrize("percent", [0, -1, 100.01, float("nan"), float("inf")])
def test_a_percentage_is_above_zero_and_up_to_a_hundred(percent):
    assert path_of_fault([stage(percent=percent)]) == "stages.0.percent"


@pytest.mark.parametrize("second", [5, 10])
def test_a_stage_that_does_not_widen_its_cohort_is_refused(second):
    assert path_of_fault([stage(percent=10), stage("other", 1), stage(percent=second)]) == "stages.2.percent"


def test_a_rollout_has_one_to_twenty_stages():
    check_stages([stage(percent=n + 1) for n in range(MAX_STAGES)])
    assert path_of_fault([]) == "stages"
    assert path_of_fault([stage(percent=n + 1) for n in range(MAX_STAGES + 1)]) == "stages"


def test_an_invalid_gate_is_refused_with_the_path_of_its_stage():
    good = {"metric": "failure_rate", "max": 0.1}
    with pytest.raises(InvalidGate) as refusal:
        check_stages([stage(percent=1, gates=[good]), stage(gates=[good, {"metric": "mood"}])])
    assert refusal.value.field == "stages.1.gates.1.metric"


def test_a_stage_without_requirements_waits_for_one_report():
    assert stage_requirements({}) == StageRequirements(minutes=0, reports=1, approval=False)


def test_the_requirements_of_a_stage_are_parsed():
    assert stage_requirements({"minutes": 30, "reports": 50, "approval": True}) == StageRequirements(
        30, 50, approval=True
    )
