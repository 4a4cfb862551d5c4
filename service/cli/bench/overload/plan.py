"""What the load generator is told, and what it tells: plain data, so that it can go through a pipe."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Shape(StrEnum):
    """How requests reach the server."""

    KEPT = "kept"
    NEW = "new"


class Outcome(StrEnum):
    """What became of a request, each told apart from the others."""

    ANSWERED = "answered"
    TURNED_AWAY = "turned_away"
    BARE_503 = "503_without_retry_after"
    OTHER_STATUS = "other_status"
    REFUSED = "refused"
    RESET = "reset"
    TIMED_OUT = "timed_out"
    NOT_CONNECTED = "not_connected"
    NOT_SENT = "not_sent"


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of time at one rate.

    Attributes:
        per_second: requests that become due; None for a closed loop: as fast as `connections` are answered.
    """

    name: str
    seconds: float
    per_second: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """One run of the generator.

    Attributes:
        pid: of the server, whose processor time is taken phase by phase.
        connections: that are open at most; in a closed loop as many as `closed_loop`.
        patience_s: after which a request is given up, counted from when it was due.
        report_every: each so manieth request reports one event, the others poll.
        devices: how many different ones ask.
    """

    pid: int
    port: int
    shape: Shape
    phases: tuple[Phase, ...]
    connections: int = 19_000
    closed_loop: int = 64
    patience_s: float = 2.0
    report_every: int = 20
    devices: int = 2000


@dataclass(slots=True)
class Stretch:
    """What came of the requests that were due in a phase, or in a window of one.

    Attributes:
        due: requests that the plan asked for.
        sent: those that left on time, as bytes or as the first packet of a connection.
        outcomes: how many of each.
        p50_ms: of the answered ones, from when they were due; as `p99_ms`. None where nothing was answered.
        next_poll_s: mean of what answered polls were told; None where nobody looked.
        server_cpu: share of a core that the server had; of a phase only.
    """

    name: str
    at_s: float
    seconds: float
    due: int = 0
    sent: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    p50_ms: float | None = None
    p99_ms: float | None = None
    next_poll_s: float | None = None
    server_cpu: float = 0.0

    def per_second(self, *outcomes: Outcome) -> float:
        """How many of some outcomes a second."""
        return sum(self.outcomes.get(one, 0) for one in outcomes) / self.seconds


@dataclass(slots=True)
class Told:
    """What a run of the generator has seen.

    Attributes:
        accepted: events that the server said it has taken in.
        lag_ms: how late requests left at most because the generator itself was late.
        cpu: share of a core that the generator took.
        open_at_most: connections at the same time.
    """

    phases: list[Stretch]
    windows: list[Stretch]
    accepted: int
    lag_ms: float
    cpu: float
    open_at_most: int
    statuses: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Told":
        """From what came through the pipe."""
        made = {name: [Stretch(**one) for one in plain[name]] for name in ("phases", "windows")}
        return cls(**(plain | made))


def plan_of(plain: dict[str, Any]) -> Plan:
    """From what came through the pipe."""
    phases = tuple(Phase(**one) for one in plain["phases"])
    return Plan(**(plain | {"phases": phases, "shape": Shape(plain["shape"])}))
