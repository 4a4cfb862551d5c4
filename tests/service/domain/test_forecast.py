import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.forecast import HORIZON_H, Leg, Rhythm, forecast
from service.domain.policy import Pacing

POLL_H = 6.0


def told(*legs, rhythm=None, **pacing):
    return forecast(legs, rhythm or Rhythm(POLL_H), Pacing(**pacing))


def test_without_limits_a_fleet_is_served_within_one_poll():
    assert told(Leg(1000, 10**6)).mostly_h == pytest.approx(0.95 * POLL_H, rel=0.05)


def test_a_byte_budget_stretches_it_to_what_the_bytes_take():
    found = told(Leg(1000, 1000 * 10**9), bytes_per_hour=10 * 10**9)
    assert found.mostly_h == pytest.approx(95, rel=0.05)


def test_so_do_open_downloads():
    assert told(Leg(1000, 1), open_downloads=5).mostly_h == pytest.approx(95, rel=0.05)


def test_windows_leave_less_time():
    narrow = Rhythm(POLL_H, open_share=0.25)
    assert told(Leg(1000, 1000 * 10**9), rhythm=narrow, bytes_per_hour=10 * 10**9).mostly_h == pytest.approx(
        380, rel=0.05
    )
    assert narrow.arrival_h == 24


def test_a_stage_opens_when_the_one_before_has_its_minutes_and_its_reports():
    found = told(Leg(1000, 1, minutes=600), Leg(1000, 1, reports=500), Leg(10, 1))
    assert found.opens_h[0] == 0
    assert found.opens_h[1] == pytest.approx(10, rel=0.05)
    assert found.opens_h[2] == pytest.approx(10 + 3 + 0.5, rel=0.05)


def test_a_stage_with_fewer_devices_than_reports_never_ends():
    found = told(Leg(10, 1, reports=20), Leg(1000, 1))
    assert (found.opens_h, found.mostly_h, found.stuck) == ((0.0, None), None, 0)


def test_a_rollout_that_reaches_nobody_has_no_end():
    assert told().mostly_h is None
    assert told(Leg(0, 0)).mostly_h is None


LEGS = st.lists(
    st.builds(Leg, st.integers(0, 10**7), st.integers(0, 10**17), st.floats(0, 10**4), st.integers(0, 100)),
    min_size=1,
    max_size=5,
)


@settings(deadline=None, max_examples=50)
@given(LEGS, st.floats(0.01, 24), st.integers(1, 10**15))
def test_it_always_answers_and_a_smaller_budget_is_never_faster(legs, poll_h, budget):
    rhythm = Rhythm(poll_h)
    wide, narrow = (forecast(legs, rhythm, Pacing(None, budget * times)) for times in (10, 1))
    for found in (wide, narrow):
        opened = [hours for hours in found.opens_h if hours is not None]
        assert opened == sorted(opened)
        assert found.mostly_h is None or 0 <= found.mostly_h <= HORIZON_H * 1.1
    if wide.mostly_h is not None and narrow.mostly_h is not None:
        assert narrow.mostly_h >= wide.mostly_h * 0.9
