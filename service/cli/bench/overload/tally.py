"""Counts what becomes of requests, by phase and by short windows of the time at which they were due."""

from collections import Counter
from dataclasses import dataclass, field
from statistics import quantiles

from service.cli.bench.overload.plan import Outcome, Stretch

WINDOW_S = 0.5


@dataclass(slots=True)
class _Sums:
    name: str
    at_s: float
    seconds: float
    due: int = 0
    sent: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    took_s: list[float] = field(default_factory=list)
    pauses: list[int] = field(default_factory=list)

    def told(self) -> Stretch:
        p50, p99 = percentiles_ms(self.took_s)
        return Stretch(
            self.name,
            round(self.at_s, 3),
            round(self.seconds, 3),
            self.due,
            self.sent,
            {str(outcome): count for outcome, count in self.outcomes.items()},
            p50,
            p99,
            round(sum(self.pauses) / len(self.pauses), 1) if self.pauses else None,
        )


class Tally:
    """Sums of one run; times are seconds since its start."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._phases: list[_Sums] = []
        self._windows: dict[int, _Sums] = {}

    def begin(self, name: str, at_s: float, seconds: float) -> None:
        """What is due from now on belongs to another phase."""
        self._phases.append(_Sums(name, at_s, seconds))

    def due(self, at_s: float) -> int:
        """A request is due; the number of its phase."""
        phase = len(self._phases) - 1
        self._phases[phase].due += 1
        self._window(at_s, phase).due += 1
        return phase

    def sent(self, phase: int, at_s: float) -> None:
        """It has left."""
        self._phases[phase].sent += 1
        self._window(at_s, phase).sent += 1

    def note(self, phase: int, at_s: float, outcome: Outcome, took_s: float) -> None:
        """What became of a request that was due at `at_s`."""
        for sums in (self._phases[phase], self._window(at_s, phase)):
            sums.outcomes[outcome] += 1
            if outcome is Outcome.ANSWERED:
                sums.took_s.append(took_s)

    def pause(self, phase: int, at_s: float, next_poll_s: int) -> None:
        """What an answered poll was told about its next one."""
        self._phases[phase].pauses.append(next_poll_s)
        self._window(at_s, phase).pauses.append(next_poll_s)

    def phases(self) -> list[Stretch]:
        """Sums by phase."""
        return [sums.told() for sums in self._phases]

    def windows(self) -> list[Stretch]:
        """Sums by window, in order."""
        return [self._windows[index].told() for index in sorted(self._windows)]

    def _window(self, at_s: float, phase: int) -> _Sums:
        index = int(at_s / WINDOW_S)
        found = self._windows.get(index)
        if found is None:
            name = self._phases[phase].name
            found = self._windows[index] = _Sums(name, index * WINDOW_S, WINDOW_S)
        return found


def percentiles_ms(took_s: list[float]) -> tuple[float | None, float | None]:
    """Median and 99th percentile, milliseconds; None of both where there are fewer than two."""
    if len(took_s) < 2:
        return None, None
    hundredths = quantiles(took_s, n=100, method="inclusive")
    return round(hundredths[49] * 1000, 1), round(hundredths[98] * 1000, 1)
