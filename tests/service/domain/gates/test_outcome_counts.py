from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.gates.outcome_counts import OutcomeCounts, total

numbers = st.integers(0, 1000)
any_counts = st.builds(OutcomeCounts, numbers, numbers, numbers, numbers, numbers)


@given(any_counts, any_counts)
@settings(deadline=None)
def test_a_sum_has_every_report(one, other):
    assert one.plus(other).reports == one.reports + other.reports
    assert one.plus(other) == other.plus(one)
    assert one.plus(OutcomeCounts()) == one


@given(any_counts, any_counts)
def test_a_sum_can_be_reversed(one, other):
    assert one.plus(other).minus(other) == one
    assert OutcomeCounts().minus(one) == OutcomeCounts()


@given(st.lists(any_counts, max_size=4))
def test_the_total_has_every_report(counts):
    assert total(counts).reports == sum(each.reports for each in counts)


def test_withdrawn_attempts_are_not_expected_to_report():
    assert OutcomeCounts(offered=100, committed=40, withdrawn=50).coverage == 0.8
    assert OutcomeCounts().coverage == 0.0
