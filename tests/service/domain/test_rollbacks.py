"""Where devices go back to, told of values alone."""

from dataclasses import replace

import pytest

from service.domain.policy import Policy
from service.domain.rollbacks import destinations, reachable
from tests.service.domain.lines import line, rollout, version

V1, V2, V3, V4 = (version(counter) for counter in (1, 2, 3, 4))
BAD = version(5)


def labels(versions, rollouts=(), *, back_to=None, came_from=None, shipped=None, bad=BAD):
    order = replace(rollout(bad, state="rolled_back"), policy=Policy(back_to=back_to))
    model = line([*versions, bad], [order, *rollouts])
    return [item.label for item in destinations(model, order, came_from=came_from, shipped=shipped)]


def test_a_device_goes_back_to_where_it_came_from():
    assert labels([V1, V2, V3], came_from="v2")[0] == "v2"


def test_a_device_that_does_not_say_goes_to_the_newest_released_version_below():
    assert labels([V1, V2, V3], [rollout(V2, state="completed")]) == ["v2", "v3", "v1"]


@pytest.mark.parametrize("state", ["halted", "rolled_back"])
def test_nobody_goes_back_to_what_another_rollout_was_stopped_over(state):
    assert labels([V1, V2], [rollout(V2, state=state)], came_from="v2") == ["v1"]


def test_a_revoked_version_is_no_way_back():
    assert labels([V1, version(2, revoked=True)], came_from="v2") == ["v1"]


def test_no_way_back_leads_below_the_floor_or_up():
    assert labels([V1, V2, V3, version(7)], came_from="v1", bad=version(5, floor=2)) == ["v3", "v2"]
    assert labels([V1], bad=version(5, floor=2)) == []


def test_a_label_is_the_only_way_back_when_it_is_named():
    assert labels([V1, V2, V3], back_to="v1", came_from="v3") == ["v1"]
    assert labels([V1, V2], back_to="v3", came_from="v2") == []


def test_factory_is_what_shipped_in_the_app_of_each_device():
    assert labels([V1, V2, V3], back_to="factory", came_from="v3", shipped="v1")[0] == "v1"
    assert labels([V1, V2, V3], back_to="factory", shipped="v2")[0] == "v2"


def test_a_device_that_names_nonsense_is_treated_as_one_that_says_nothing():
    assert labels([V1, V2], came_from="v9") == labels([V1, V2], came_from="v5") == ["v2", "v1"]


def test_reachable_is_older_and_not_below_the_floor():
    source = version(5, floor=2)
    assert [counter for counter in range(8) if reachable(counter, source)] == [2, 3, 4]
