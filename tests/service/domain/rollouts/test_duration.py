import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.rollouts.duration import HORIZON_H, ArrivalPattern, StageLoad, estimate_duration
from service.domain.rollouts.policy import Pacing

POLL_H = 6.0


def estimate(*loads, arrivals=None, **pacing):
    return estimate_duration(loads, arrivals or ArrivalPattern(POLL_H), Pacing(**pacing))


def test_without_limits_a_fleet_is_served_within_one_poll_interval():
    assert estimate(StageLoad(1000, 10**6)).most_devices_h == pytest.approx(0.95 * POLL_H, rel=0.05)


def test_a_limit_on_bytes_lengthens_the_rollout():
    found = estimate(StageLoad(1000, 1000 * 10**9), max_bytes_per_hour=10 * 10**9)
    assert found.most_devices_h == pytest.approx(95, rel=0.05)


def test_a_limit_on_downloads_lengthens_the_rollout():
    assert estimate(StageLoad(1000, 1), max_open_downloads=5).most_devices_h == pytest.approx(95, rel=0.05)


def test_windows_lengthen_the_rollout():
    narrow = ArrivalPattern(POLL_H, open_share=0.25)
    assert estimate(
        StageLoad(1000, 1000 * 10**9), arrivals=narrow, max_bytes_per_hour=10 * 10**9
    ).most_devices_h == pytest.approx(380, rel=0.05)
    assert narrow.arrival_h == 24


def test_a_stage_opens_when_the_previous_one_meets_its_requirements():
    found = estimate(StageLoad(1000, 1, minutes=600), StageLoad(1000, 1, reports=500), StageLoad(10, 1))
    assert found.stage_opens_h[0] == 0
    assert found.stage_opens_h[1] == pytest.approx(10, rel=0.05)
    assert found.stage_opens_h[2] == pytest.approx(10 + 3 + 0.5, rel=0.05)


def test_a_stage_with_fewer_devices_than_required_reports_is_stuck():
    found = estimate(StageLoad(10, 1, reports=20), StageLoad(1000, 1))
    assert (found.stage_opens_h, found.most_devices_h, found.stuck_stage) == ((0.0, None), None, 0)


def test_a_rollout_without_devices_has_no_end():
    assert estimate().most_devices_h is None
    assert estimate(StageLoad(0, 0)).most_devices_h is None


any_loads = st.lists(
    st.builds(
        StageLoad, st.integers(0, 10**7), st.integers(0, 10**17), st.floats(0, 10**4), st.integers(0, 100)
    ),
    min_size=1,
    max_size=5,
)


@settings(deadline=None, max_examples=50)
@given(any_loads, st.floats(0.01, 24), st.integers(1, 10**15))
def test_a_smaller_limit_is_never_faster(loads, poll_h, limit):
    arrivals = ArrivalPattern(poll_h)
    wide, narrow = (estimate_duration(loads, arrivals, Pacing(None, limit * times)) for times in (10, 1))
    for found in (wide, narrow):
        opened = [hours for hours in found.stage_opens_h if hours is not None]
        assert opened == sorted(opened)
        assert found.most_devices_h is None or 0 <= found.most_devices_h <= HORIZON_H * 1.1
    if wide.most_devices_h is not None and narrow.most_devices_h is not None:
        assert narrow.most_devices_h >= wide.most_devices_h * 0.9
