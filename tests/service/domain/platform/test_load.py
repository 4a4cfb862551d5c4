from hypothesis import given
from hypothesis import strategies as st

from service.domain.platform.load import (
    MAX_BACKOFF_FACTOR,
    Load,
    backoff_factor,
    first_after_outage_s,
    next_poll_s,
)

loads = st.builds(Load, st.floats(0, 1), st.floats(0, 60))
chances = st.floats(0, 1)


def test_an_idle_server_jitters_the_poll_interval_by_a_tenth():
    assert [next_poll_s(1000, Load(), chance) for chance in (0, 0.5, 1)] == [900, 1000, 1100]


def test_a_busy_server_lengthens_the_poll_interval_up_to_four_times():
    assert backoff_factor(Load(busy=0.7)) == 1
    assert backoff_factor(Load(busy=0.85)) == 2.5
    assert backoff_factor(Load(busy=1.0)) == MAX_BACKOFF_FACTOR
    assert backoff_factor(Load(late_s=3)) == MAX_BACKOFF_FACTOR


@given(loads, loads, chances)
def test_more_load_never_shortens_the_poll_interval(one, other, chance):
    heavier = Load(max(one.busy, other.busy), max(one.late_s, other.late_s))
    assert next_poll_s(3600, heavier, chance) >= next_poll_s(3600, one, chance)


@given(chances, st.integers(1, 86400))
def test_the_first_poll_after_an_outage_is_soon_and_spread(chance, base):
    assert 1 <= first_after_outage_s(base, 300, chance) <= 1 + 1.5 * min(base, 300)
