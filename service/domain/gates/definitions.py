"""Gates and stage requirements, as release managers define them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from service.domain.gates import metrics
from service.errors import InvalidGate

RATES = {
    "failure_rate": ("failed", "rolled_back", "timed_out"),
    "crash_rate": ("rolled_back",),
    "rollback_rate": ("rolled_back",),
    "timeout_rate": ("timed_out",),
}
"""Rate -> the outcomes that count against it."""
DEFAULT_MIN_VALUES = 100
"""Values per arm before a gate on a metric is evaluated: its statistics hold for many values only."""
MIN_MIN_VALUES, MAX_MIN_VALUES = 20, 1_000_000


@dataclass(frozen=True, slots=True)
class RateGate:
    """A bound on a rate.

    Attributes:
        metric: name of the rate, one of `RATES`.
        max: highest allowed rate, 0 to 1.
    """

    metric: str
    max: float


@dataclass(frozen=True, slots=True)
class MetricGate:
    """A bound on the geometric mean of a metric that devices report.

    Attributes:
        metric: name of the metric.
        bad_direction: the direction that is bad, `up` or `down`.
        bound: in the metric's unit; against control, the allowed change as a ratio (0.1 for 10 %).
        against_control: the mean is compared with that of the control arm.
        min_values: values per arm before the gate is evaluated.
    """

    metric: str
    bad_direction: Literal["up", "down"]
    bound: float
    against_control: bool
    min_values: int = DEFAULT_MIN_VALUES


Gate = RateGate | MetricGate


@dataclass(frozen=True, slots=True)
class StageRequirements:
    """What must have happened before the rollout advances to the next stage.

    Attributes:
        minutes: time since the stage began.
        reports: outcomes of the stage's own devices.
        approval: a person has promoted the rollout.
        min_coverage: share of the stage's attempts with a known outcome, 0 to 1.
    """

    minutes: float = 0
    reports: int = 1
    approval: bool = False
    min_coverage: float = 0


def parse_gate(raw: Any, path: str, known: Collection[str] | None = None) -> Gate:
    """Parse a gate.

    Args:
        raw: JSON such as `{"metric": "failure_rate", "max": 0.05}`, `{"metric": "load_ms", "max": 4000}` or
            `{"metric": "quality", "against": "control", "max_decrease": 0.02}`.
        path: where the gate stands in the request.
        known: names of the metrics that the model's devices have reported; None if they were checked before.

    Raises:
        InvalidGate: the metric is unknown, or a bound is invalid; `field` is the path of the fault.
    """
    metric = raw.get("metric") if isinstance(raw, dict) else None
    custom = set(known or ()) - set(metrics.STANDARD_METRICS) - set(RATES)
    names = (*RATES, *metrics.STANDARD_METRICS, *sorted(custom))
    if not isinstance(metric, str) or not metric or (known is not None and metric not in names):
        raise InvalidGate(f"metric must be one of {', '.join(names)}", field=f"{path}.metric")
    if metric not in RATES:
        return _parse_metric_gate(metric, raw, path)
    _refuse_unknown_fields(raw, ("metric", "max"), path)
    return RateGate(metric, _number(raw, "max", path, (0, 1, "a rate from 0 to 1")))


def _parse_metric_gate(metric: str, raw: Mapping[str, Any], path: str) -> MetricGate:
    against_control = raw.get("against") == "control"
    if "against" in raw and not against_control:
        raise InvalidGate("against must be control; leave it out for a fixed bound", field=f"{path}.against")
    bounds = ("max_increase", "max_decrease") if against_control else ("max", "min")
    _refuse_unknown_fields(raw, ("metric", "against", "min_values", *bounds), path)
    given = [name for name in bounds if name in raw]
    if len(given) != 1:
        raise InvalidGate(
            f"the gate needs one bound; use exactly one of {' and '.join(bounds)}",
            field=f"{path}.{bounds[0]}",
        )
    bound = _number(raw, given[0], path, _RATIOS.get(given[0], _METRIC_VALUES))
    min_values = _number({"min_values": DEFAULT_MIN_VALUES} | dict(raw), "min_values", path, _VALUE_COUNTS)
    direction: Literal["up", "down"] = "up" if given[0] == bounds[0] else "down"
    return MetricGate(metric, direction, bound, against_control, int(min_values))


_RATIOS = {
    "max_increase": (0.0, 10.0, "a ratio from 0 to 10, such as 0.1 for 10 %"),
    "max_decrease": (0.0, 0.9, "a ratio from 0 to 0.9, such as 0.02 for 2 %"),
}
_METRIC_VALUES = (metrics.MIN_VALUE, metrics.MAX_VALUE, "a number above 0, in the metric's unit")
_VALUE_COUNTS = (
    MIN_MIN_VALUES,
    MAX_MIN_VALUES,
    f"a number of values from {MIN_MIN_VALUES:,} to {MAX_MIN_VALUES:,}",
)


def _refuse_unknown_fields(raw: Mapping[str, Any], names: Collection[str], path: str) -> None:
    unknown = sorted(str(name) for name in raw if name not in names)
    if unknown:
        raise InvalidGate(
            f"unknown field {unknown[0]!r}; this gate takes {', '.join(names)}", field=f"{path}.{unknown[0]}"
        )


def _number(raw: Mapping[str, Any], name: str, path: str, allowed: tuple[float, float, str]) -> float:
    """Return a number of the gate; `allowed` is the smallest, the largest, and a description of both."""
    value, (smallest, largest, description) = raw.get(name), allowed
    if isinstance(value, bool) or not isinstance(value, int | float) or not smallest <= value <= largest:
        raise InvalidGate(f"{name} must be {description}", field=f"{path}.{name}")
    return float(value)
