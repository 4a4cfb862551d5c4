"""Bounds on how a rollout may go, as they can be written; `findings` has what one of them says of the counts so far."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from service.domain import measures
from service.errors import InvalidGate

METRICS = {
    "failure_rate": ("failed", "rolled_back", "timed_out"),
    "crash_rate": ("rolled_back",),
    "rollback_rate": ("rolled_back",),
    "timeout_rate": ("timed_out",),
}
"""Rate -> the outcomes that count against it."""
MIN_VALUES = 100
"""Values, in each arm, before a gate on a measurement may speak: its statistics hold for many values only."""
LEAST_VALUES, MOST_VALUES = 20, 1_000_000


@dataclass(frozen=True, slots=True)
class Gate:
    """A bound on a rate.

    Attributes:
        metric: one of `METRICS`.
        max: the rate, 0 to 1, above which the rollout is in breach.
    """

    metric: str
    max: float


@dataclass(frozen=True, slots=True)
class MeasureGate:
    """A bound on something that devices measure, by its geometric mean.

    Attributes:
        metric: its name.
        worse: the direction that is bad: `up` or `down`.
        bound: in the metric's unit; against control, the change that is allowed as a ratio (0.1 for 10 %).
        control: whether it is compared with the devices that do not have the version.
        min_values: values, in each arm, before it may speak.
    """

    metric: str
    worse: Literal["up", "down"]
    bound: float
    control: bool
    min_values: int = MIN_VALUES


AnyGate = Gate | MeasureGate


@dataclass(frozen=True, slots=True)
class Hold:
    """What must have happened before a stage may end.

    Attributes:
        minutes: time since the stage began.
        reports: outcomes of the stage's own devices.
        approval: wait for a person (`promote`).
        min_coverage: share of the stage's attempts, 0 to 1, whose outcome is known.
    """

    minutes: float = 0
    reports: int = 1
    approval: bool = False
    min_coverage: float = 0


def parse_gate(raw: Any, path: str, known: Collection[str] | None = None) -> AnyGate:
    """A gate from JSON.

    Args:
        raw: `{"metric": "failure_rate", "max": 0.05}`, `{"metric": "load_ms", "max": 4000}`, `{"metric":
            "quality", "against": "control", "max_decrease": 0.02}`, ...
        path: where it stands in the request.
        known: what the model's devices have ever measured; None where that has been checked before.

    Raises:
        InvalidGate: unknown metric, or a bound that makes no sense; `field` says where.
    """
    metric = raw.get("metric") if isinstance(raw, dict) else None
    own = set(known or ()) - set(measures.KNOWN) - set(METRICS)
    names = (*METRICS, *measures.KNOWN, *sorted(own))
    if not isinstance(metric, str) or not metric or (known is not None and metric not in names):
        raise InvalidGate(f"metric is one of {', '.join(names)}", field=f"{path}.metric")
    if metric not in METRICS:
        return _measure_gate(metric, raw, path)
    _only(raw, ("metric", "max"), path)
    return Gate(metric, _number(raw, "max", path, (0, 1, "a rate between 0 and 1")))


def _measure_gate(metric: str, raw: Mapping[str, Any], path: str) -> MeasureGate:
    control = raw.get("against") == "control"
    if "against" in raw and not control:
        raise InvalidGate("a gate is against control, or against nothing", field=f"{path}.against")
    senses = ("max_increase", "max_decrease") if control else ("max", "min")
    _only(raw, ("metric", "against", "min_values", *senses), path)
    named = [name for name in senses if name in raw]
    if len(named) != 1:
        raise InvalidGate(f"exactly one of {' and '.join(senses)}", field=f"{path}.{senses[0]}")
    allowed = _RATIOS.get(named[0], _UNITS)
    bound = _number(raw, named[0], path, allowed)
    many = _number({"min_values": MIN_VALUES} | dict(raw), "min_values", path, _COUNTS)
    return MeasureGate(metric, "up" if named[0] == senses[0] else "down", bound, control, int(many))


_RATIOS = {
    "max_increase": (0.0, 10.0, "a ratio such as 0.1 for 10 %"),
    "max_decrease": (0.0, 0.9, "a ratio from 0 to 0.9, such as 0.02 for 2 %"),
}
_UNITS = (measures.LEAST, measures.MOST, "a number above 0, in the metric's own unit")
_COUNTS = (LEAST_VALUES, MOST_VALUES, f"a number of values from {LEAST_VALUES:,} to {MOST_VALUES:,}")


def _only(raw: Mapping[str, Any], names: Collection[str], path: str) -> None:
    foreign = sorted(str(name) for name in raw if name not in names)
    if foreign:
        raise InvalidGate(f"not {foreign[0]!r}; it takes {', '.join(names)}", field=f"{path}.{foreign[0]}")


def _number(raw: Mapping[str, Any], name: str, path: str, allowed: tuple[float, float, str]) -> float:
    """`allowed`: from, to, and what to say otherwise."""
    value, (least, most, what) = raw.get(name), allowed
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InvalidGate(what, field=f"{path}.{name}")
    return float(value)
