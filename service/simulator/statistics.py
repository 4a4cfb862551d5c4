"""Statistics of a simulation."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from service.simulator.devices import VirtualDevice


@dataclass(slots=True)
class Statistics:
    """Counts of what has happened so far.

    Attributes:
        versions: version -> number of devices that run it.
        polls: polls that devices sent.
        legacy_polls: answered polls of devices with a client of an earlier release.
        offers: responses with an update.
        bytes: bytes that devices downloaded.
        lost_requests: requests that the scenario lost on their way.
        failed_requests: requests without a response from the server.
        reasons: reason of a poll response -> count.
        statuses: HTTP status -> count.
        outcomes: outcome of an attempt -> count.
        problems: problem code -> count, without those that devices retry.
        polls_per_minute: simulated minute -> polls.
    """

    versions: Counter[str] = field(default_factory=Counter)
    polls: int = 0
    legacy_polls: int = 0
    offers: int = 0
    bytes: int = 0
    lost_requests: int = 0
    failed_requests: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    polls_per_minute: Counter[int] = field(default_factory=Counter)

    @classmethod
    def of(cls, devices: Sequence[VirtualDevice]) -> "Statistics":
        """Statistics at the start of a simulation."""
        return cls(versions=Counter(device.version for device in devices))

    def count_poll(self, now_s: float) -> None:
        """Count a poll that is sent at `now_s` simulated seconds."""
        self.polls += 1
        self.polls_per_minute[int(now_s // 60)] += 1

    def count_offer(self, outcome: str) -> None:
        """Count an offer and the outcome of its attempt."""
        self.offers += 1
        self.outcomes[outcome] += 1

    def count_switch(self, old: str, new: str) -> None:
        """Count a device that now runs another version."""
        self.versions[old] -= 1
        self.versions[new] += 1

    def peak_to_mean(self) -> float:
        """Polls of the busiest minute relative to the mean minute; 0 before the first poll."""
        if not self.polls_per_minute:
            return 0.0
        minutes = max(self.polls_per_minute) + 1
        return max(self.polls_per_minute.values()) / (sum(self.polls_per_minute.values()) / minutes)

    def as_json(self) -> dict[str, Any]:
        """The figures, as `--json` prints them."""
        return {
            "polls": self.polls,
            "legacy_polls": self.legacy_polls,
            "lost_requests": self.lost_requests,
            "failed_requests": self.failed_requests,
            "offers": self.offers,
            "bytes": self.bytes,
            "outcomes": dict(self.outcomes),
            "reasons": dict(self.reasons),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "problems": dict(self.problems),
            "versions": {label: count for label, count in self.versions.items() if count},
            "peak_polls_per_minute": max(self.polls_per_minute.values(), default=0),
            "peak_to_mean": round(self.peak_to_mean(), 2),
        }
