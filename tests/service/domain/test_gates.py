import pytest

from service.domain.gates import METRICS, Gate, MeasureGate, parse_gate
from service.errors import InvalidGate


@pytest.mark.parametrize("metric", METRICS)
def test_a_gate_is_read_from_json(metric):
    assert parse_gate({"metric": metric, "max": 0.05}, "gates.0") == Gate(metric, 0.05)


@pytest.mark.parametrize("bound", [0, 1, 0.0, 1.0])
def test_the_ends_of_the_scale_are_bounds_too(bound):
    assert parse_gate({"metric": "failure_rate", "max": bound}, "g").max == bound


@pytest.mark.parametrize(
    ("raw", "place"),
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
def test_a_gate_that_cannot_be_read_is_refused_with_its_place(raw, place):
    with pytest.raises(InvalidGate) as refusal:
        parse_gate(raw, "g", ())
    assert refusal.value.field == place


@pytest.mark.parametrize(
    ("raw", "gate"),
    [
        ({"metric": "load_ms", "max": 4000}, MeasureGate("load_ms", "up", 4000, control=False)),
        ({"metric": "tokens_per_s", "min": 8}, MeasureGate("tokens_per_s", "down", 8, control=False)),
        (
            {"metric": "load_ms", "against": "control", "max_increase": 0.1},
            MeasureGate("load_ms", "up", 0.1, control=True),
        ),
        (
            {"metric": "quality", "against": "control", "max_decrease": 0.02, "min_values": 50},
            MeasureGate("quality", "down", 0.02, control=True, min_values=50),
        ),
        ({"metric": "own", "max": 1}, MeasureGate("own", "up", 1, control=False)),
    ],
)
def test_a_gate_on_a_measurement_is_read_from_json(raw, gate):
    assert parse_gate(raw, "g", ["own"]) == gate


def test_an_unknown_metric_is_refused_with_all_that_are_known():
    with pytest.raises(InvalidGate) as refusal:
        parse_gate({"metric": "mood", "max": 1}, "g", ["own", "load_ms"])
    assert refusal.value.detail == (
        "metric is one of failure_rate, crash_rate, rollback_rate, timeout_rate, "
        "load_ms, first_token_ms, tokens_per_s, peak_memory_mb, quality, own"
    )
