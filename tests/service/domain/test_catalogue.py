import pytest

from tests.service.domain.lines import line, rollout, version

V1, V2, V3 = version(1), version(2), version(3)


def test_nothing_is_released_before_a_rollout_is_completed():
    assert line([V1, V2], [rollout(V2)]).released() is None


def test_the_released_version_is_the_newest_that_was_completed():
    done = [rollout(V2, state="completed"), rollout(V1, state="completed"), rollout(V3)]
    assert line([V1, V2, V3], done).released() is V2


def test_newest_means_the_highest_counter_and_not_the_last_rollout():
    done = [rollout(V1, state="completed"), rollout(V3, state="completed"), rollout(V2, state="completed")]
    assert line([V1, V2, V3], done).released() is V3


def test_what_polls_share_cannot_be_changed_by_one_of_them():
    with pytest.raises(AttributeError):
        V1.label = "v9"
