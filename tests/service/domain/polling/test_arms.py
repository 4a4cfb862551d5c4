from dataclasses import replace

import pytest

from service.domain.polling.arms import Assignment, arm_of, assign
from service.domain.rollouts.policy import Policy
from service.domain.targeting.buckets import bucket
from tests.service.domain.builders import rollout, stage, version

EAST, WEST = {"attr": "region", "eq": "east"}, {"attr": "region", "eq": "west"}


def device(low, high, salt="salt"):
    """Return a device with a bucket from `low` to below `high`."""
    names = (f"d{number}" for number in range(100_000))
    return next(name for name in names if low <= bucket(salt, name) < high)


LOW, MIDDLE, HIGH = device(0, 1000), device(2000, 5000), device(9500, 10_000)
TENTH = rollout(version(2), stage(percent=10), stage(percent=60))


def test_the_hash_admits_or_excludes_a_device():
    assert assign(TENTH, LOW, {}) == Assignment(0, True, 0.1)
    assert assign(TENTH, MIDDLE, {}) == Assignment(0, False, 0.1)


def test_a_wider_stage_admits_more_devices():
    assert assign(replace(TENTH, stage=1), MIDDLE, {}) == Assignment(0, True, 0.6)
    assert assign(replace(TENTH, state="completed"), MIDDLE, {}) == Assignment(0, True, 0.6)


def test_a_device_in_no_open_cohort_has_no_assignment():
    found = rollout(version(2), stage(EAST, 10), stage(WEST, 50))
    assert assign(found, LOW, {"region": "north"}) is None
    assert assign(found, LOW, {"region": "west"}) is None
    assert assign(replace(found, stage=1), LOW, {"region": "west"}) == Assignment(1, True, 0.5)


def test_the_holdout_is_excluded_by_the_hash_too():
    found = replace(rollout(version(2), stage()), policy=Policy(holdout_percent=10))
    assert assign(found, HIGH, {}) == Assignment(0, False, 0.9)
    assert assign(found, LOW, {}) == Assignment(0, True, 0.9)


@pytest.mark.parametrize(
    ("name", "current", "expected"),
    [
        (LOW, "v2", "treatment"),
        (MIDDLE, "v1", "control"),
        (MIDDLE, "unknown", "control"),
        (LOW, "v1", None),
    ],
)
def test_only_devices_that_the_hash_excluded_are_in_control(name, current, expected):
    assignment = assign(TENTH, name, {})
    assert assignment is not None
    assert arm_of(TENTH, assignment, current) == expected
