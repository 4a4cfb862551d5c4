from dataclasses import replace

import pytest

from service.domain.arms import Standing, arm, standing
from service.domain.cohorts import bucket
from service.domain.policy import Policy
from tests.service.domain.lines import rollout, stage, version

EAST, WEST = {"attr": "region", "eq": "east"}, {"attr": "region", "eq": "west"}


def device(low, high, salt="salt"):
    """A device whose bucket is from `low` to below `high`."""
    names = (f"d{number}" for number in range(100_000))
    return next(name for name in names if low <= bucket(salt, name) < high)


LOW, MIDDLE, HIGH = device(0, 1000), device(2000, 5000), device(9500, 10_000)
TENTH = rollout(version(2), stage(percent=10), stage(percent=60))


def test_the_hash_lets_in_or_leaves_out():
    assert standing(TENTH, LOW, {}) == Standing(0, True, 0.1)
    assert standing(TENTH, MIDDLE, {}) == Standing(0, False, 0.1)


def test_a_widened_stage_lets_more_in():
    assert standing(replace(TENTH, stage=1), MIDDLE, {}) == Standing(0, True, 0.6)
    assert standing(replace(TENTH, state="completed"), MIDDLE, {}) == Standing(0, True, 0.6)


def test_who_is_in_no_open_stages_cohort_does_not_stand_anywhere():
    found = rollout(version(2), stage(EAST, 10), stage(WEST, 50))
    assert standing(found, LOW, {"region": "north"}) is None
    assert standing(found, LOW, {"region": "west"}) is None
    assert standing(replace(found, stage=1), LOW, {"region": "west"}) == Standing(1, True, 0.5)


def test_who_is_held_back_is_left_out_by_chance_too():
    found = replace(rollout(version(2), stage()), policy=Policy(holdback_percent=10))
    assert standing(found, HIGH, {}) == Standing(0, False, 0.9)
    assert standing(found, LOW, {}) == Standing(0, True, 0.9)


@pytest.mark.parametrize(
    ("name", "runs", "found"),
    [
        (LOW, "v2", "treated"),
        (MIDDLE, "v1", "control"),
        (MIDDLE, "of the app", "control"),
        (LOW, "v1", None),
    ],
)
def test_control_are_only_those_whom_the_hash_has_left_out(name, runs, found):
    assert arm(TENTH, standing(TENTH, name, {}), runs) == found
