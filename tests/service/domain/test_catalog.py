import pytest

from tests.service.domain.builders import model_view, rollout, version

V1, V2, V3 = version(1), version(2), version(3)


def test_no_version_is_released_before_a_rollout_is_completed():
    assert model_view([V1, V2], [rollout(V2)]).newest_released() is None


def test_the_released_version_is_the_newest_completed_one():
    done = [rollout(V2, state="completed"), rollout(V1, state="completed"), rollout(V3)]
    assert model_view([V1, V2, V3], done).newest_released() is V2


def test_the_newest_version_has_the_highest_counter():
    done = [rollout(V1, state="completed"), rollout(V3, state="completed"), rollout(V2, state="completed")]
    assert model_view([V1, V2, V3], done).newest_released() is V3


def test_a_poll_cannot_change_shared_values():
    with pytest.raises(AttributeError):
        V1.label = "v9"
