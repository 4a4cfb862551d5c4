import pytest

from service.domain.gates.definitions import RATES, MetricGate, RateGate, parse_gate
from service.errors import InvalidGate


@pytest.mark.parametrize("metric", RATES)
def test_a_rate_gate_is_parsed(metric):
    assert parse_gate({"metric": metric, "max": 0.05}, "gates.0") == RateGate(metric, 0.05)


@pytest.mark.parametrize("bound", [0, 1, 0.0, 1.0])
def test_a_bound_may_be_zero_or_one(bound):
    gate = parse_gate({"metric": "failure_rate", "max": bound}, "g")
    assert isinstance(gate, RateGate)
    assert gate.max == bound


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (None, "g.metric"),
        ([], "g.metric"),
        ({}, "g.metric"),
        ({"metric": "mood", "max": 0.1}, "g.metric"),
        ({"metric": "failure_rate", "max": 0.1, "against": "control"}, "g.against"),
        ({"metric": "failure_rate", "min": 0.1}, "g.min"),
        ({"metric": "load_ms"}, "g.max"),
        ({"metric": "load_ms", "max": 0}, "g.max"),
        ({"metric": "load_ms", "max": 5, "min": 1}, "g.max"),
        ({"metric": "load_ms", "max_increase": 0.1}, "g.max_increase"),
        ({"metric": "load_ms", "against": "v1", "max_increase": 0.1}, "g.against"),
        ({"metric": "load_ms", "against": "control"}, "g.max_increase"),
        ({"metric": "load_ms", "against": "control", "max": 5}, "g.max"),
        ({"metric": "load_ms", "against": "control", "max_increase": -0.1}, "g.max_increase"),
        ({"metric": "quality", "against": "control", "max_decrease": 1}, "g.max_decrease"),
        ({"metric": "load_ms", "max": 5, "min_values": 19}, "g.min_values"),
        ({"metric": ["failure_rate"], "max": 0.1}, "g.metric"),
        ({"metric": {}, "max": 0.1}, "g.metric"),
        ({"metric": "failure_rate"}, "g.max"),
        ({"metric": "failure_rate", "max": "0.1"}, "g.max"),
        ({"metric": "failure_rate", "max": True}, "g.max"),
        ({"metric": "failure_rate", "max": 1.01}, "g.max"),
        ({"metric": "failure_rate", "max": -0.01}, "g.max"),
        ({"metric": "failure_rate", "max": float("nan")}, "g.max"),
    ],
)
def test_an_invalid_gate_is_refused_with_its_path(raw, path):
    with pytest.raises(InvalidGate) as refusal:
        parse_gate(raw, "g", ())
    assert refusal.value.field == path


@pytest.mark.parametrize(
    ("raw", "gate"),
    [
        ({"metric": "load_ms", "max": 4000}, MetricGate("load_ms", "up", 4000, against_control=False)),
        ({"metric": "tokens_per_s", "min": 8}, MetricGate("tokens_per_s", "down", 8, against_control=False)),
        (
            {"metric": "load_ms", "against": "control", "max_increase": 0.1},
            MetricGate("load_ms", "up", 0.1, against_control=True),
        ),
        (
            {"metric": "quality", "against": "control", "max_decrease": 0.02, "min_values": 50},
            MetricGate("quality", "down", 0.02, against_control=True, min_values=50),
        ),
        ({"metric": "own", "max": 1}, MetricGate("own", "up", 1, against_control=False)),
    ],
)
def test_a_metric_gate_is_parsed(raw, gate):
    assert parse_gate(raw, "g", ["own"]) == gate


def test_an_unknown_metric_is_refused_with_the_known_ones():
    with pytest.raises(InvalidGate) as refusal:
        parse_gate({"metric": "mood", "max": 1}, "g", ["own", "load_ms"])
    assert refusal.value.detail == (
        "metric must be one of failure_rate, crash_rate, rollback_rate, timeout_rate, "
        "load_ms, first_token_ms, tokens_per_s, peak_memory_mb, quality, own"
    )
