from dataclasses import replace

import pytest

from service.domain.polling.rollback_targets import can_roll_back_to, rollback_targets
from service.domain.rollouts.policy import Policy
from tests.service.domain.builders import model_view, rollout, version

V1, V2, V3, V4 = (version(counter) for counter in (1, 2, 3, 4))
BAD = version(5)


def labels(versions, rollouts=(), *, rollback_to=None, came_from=None, shipped=None, bad=BAD):
    rolled_back = replace(rollout(bad, state="rolled_back"), policy=Policy(rollback_to=rollback_to))
    model = model_view([*versions, bad], [rolled_back, *rollouts])
    return [item.label for item in rollback_targets(model, rolled_back, came_from=came_from, shipped=shipped)]


def test_a_device_returns_to_the_version_that_it_came_from():
    assert labels([V1, V2, V3], came_from="v2")[0] == "v2"


def test_a_device_without_history_goes_to_the_newest_released_version_below():
    assert labels([V1, V2, V3], [rollout(V2, state="completed")]) == ["v2", "v3", "v1"]


@pytest.mark.parametrize("state", ["halted", "rolled_back"])
def test_a_version_whose_rollout_was_stopped_is_no_rollback_target(state):
    assert labels([V1, V2], [rollout(V2, state=state)], came_from="v2") == ["v1"]


def test_a_revoked_version_is_no_rollback_target():
    assert labels([V1, version(2, revoked=True)], came_from="v2") == ["v1"]


def test_rollback_targets_are_older_and_not_below_the_floor():
    assert labels([V1, V2, V3, version(7)], came_from="v1", bad=version(5, floor=2)) == ["v3", "v2"]
    assert labels([V1], bad=version(5, floor=2)) == []


def test_a_named_label_is_the_only_rollback_target():
    assert labels([V1, V2, V3], rollback_to="v1", came_from="v3") == ["v1"]
    assert labels([V1, V2], rollback_to="v3", came_from="v2") == []


def test_factory_is_the_version_inside_each_devices_app():
    assert labels([V1, V2, V3], rollback_to="factory", came_from="v3", shipped="v1")[0] == "v1"
    assert labels([V1, V2, V3], rollback_to="factory", shipped="v2")[0] == "v2"


def test_an_unknown_history_counts_as_none():
    assert labels([V1, V2], came_from="v9") == labels([V1, V2], came_from="v5") == ["v2", "v1"]


def test_a_device_can_roll_back_from_its_counter_down_to_the_floor():
    source = version(5, floor=2)
    assert [counter for counter in range(8) if can_roll_back_to(counter, source)] == [2, 3, 4]
