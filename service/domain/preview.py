"""What a rollout would do to the fleet as it is known: decided once per group, by the function that answers polls."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from service.domain.catalogue import Line, Rollout
from service.domain.decisions import Decision, Facts, When
from service.domain.fleet import Lens
from service.domain.offers import decide
from service.domain.policy import Pacing

Path = Literal["patch", "mixed", "full", "keep"]
"""By patches alone, partly, by full files alone, or with nothing to download."""
NOT_SERVED = "model_not_served"
OTHER_ROLLOUT = "other_rollout"
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Crowd:
    """Devices that get one answer.

    Attributes:
        facts: of one of them, which stand for all.
        served: whether they were let in for the model.
        silent: how many of them have not been heard of lately.
        bare: how many of them have no attributes at all.
    """

    facts: Facts
    devices: int
    served: bool = True
    silent: int = 0
    bare: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a crowd gets.

    Attributes:
        reason: the poll's reason, or why there is no poll to answer.
        stage: the stage that takes them; None for those that it gives nothing.
        path: how it gets to them.
        bytes: what each of them downloads.
        memory: bytes that applying its largest patch takes.
        waits: whether a patch for them is in the making, so that later comers download less.
    """

    crowd: Crowd
    reason: str
    stage: int | None = None
    path: Path | None = None
    bytes: int = 0
    memory: int = 0
    waits: bool = False


@dataclass(slots=True)
class Tally:
    """Devices, counted in several ways.

    Attributes:
        paths: how many come by which path.
        running: version -> how many run it; None for those that have nothing yet.
        silent: how many have not been heard of lately.
        waiting: how many would get a patch instead once those in the making are ready.
    """

    devices: int = 0
    bytes: int = 0
    silent: int = 0
    waiting: int = 0
    paths: Counter[str] = field(default_factory=Counter)
    running: Counter[str | None] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """Count a crowd in."""
        crowd = outcome.crowd
        self.devices += crowd.devices
        self.bytes += crowd.devices * outcome.bytes
        self.silent += crowd.silent
        self.waiting += crowd.devices if outcome.waits else 0
        self.running[crowd.facts.current] += crowd.devices
        if outcome.path is not None:
            self.paths[outcome.path] += crowd.devices


def opened(rollout: Rollout) -> Rollout:
    """The rollout with all stages open, at once and at any time: what it would reach in the end."""
    policy = replace(rollout.policy, starts_at=None, windows=None, pacing=Pacing())
    return replace(rollout, state="running", stage=len(rollout.stages) - 1, policy=policy)


def outcome(line: Line, rollout: Rollout, crowd: Crowd, when: When) -> Outcome:
    """What a crowd gets, and from which stage.

    Args:
        line: the model, with those rollouts that are asked before this one, and this one.
        rollout: as `opened`.
        crowd: the devices.
        when: the moment.
    """
    if not crowd.served:
        return Outcome(crowd, NOT_SERVED)
    decision = decide(line, crowd.facts, when)
    waits = decision.reason == "patch_building"
    if waits:
        # It waits for a bounded time only; what is sure is what it would get now.
        decision = decide(line, crowd.facts, replace(when, waiting_since=_NEVER))
    if not decision.offered:
        return Outcome(crowd, decision.reason)
    if decision.rollout is None or decision.rollout.id != rollout.id:
        return Outcome(crowd, OTHER_ROLLOUT if decision.rollout else decision.reason)
    return Outcome(
        crowd,
        decision.reason,
        stage=decision.stage,
        path=path_of(decision),
        bytes=sum(delivery.bytes for delivery in decision.deliveries),
        memory=max((way.working_set for item in decision.deliveries for way in item.patches[:1]), default=0),
        waits=waits,
    )


def path_of(decision: Decision) -> Path:
    """How an offer gets to the device."""
    moved = [delivery for delivery in decision.deliveries if not delivery.keep]
    patched = [delivery for delivery in moved if delivery.patches]
    if not moved:
        return "keep"
    if len(patched) == len(moved):
        return "patch"
    return "mixed" if patched else "full"


def by_stage(rollout: Rollout, outcomes: Iterable[Outcome]) -> list[Tally]:
    """Devices that each stage takes and no earlier one did."""
    tallies = [Tally() for _ in rollout.stages]
    for item in outcomes:
        if item.stage is not None:
            tallies[item.stage].add(item)
    return tallies


def by_version(outcomes: Iterable[Outcome]) -> dict[str | None, tuple[Tally, Counter[str]]]:
    """Running version -> those that are taken, and why the others are not."""
    found: dict[str | None, tuple[Tally, Counter[str]]] = {}
    for item in outcomes:
        taken, left = found.setdefault(item.crowd.facts.current, (Tally(), Counter()))
        if item.stage is not None:
            taken.add(item)
        else:
            left[item.reason] += item.crowd.devices
    return found


def percentile(values: Iterable[tuple[int, int]], share: float) -> int:
    """The least value that `share` of the weight does not exceed; 0 for nothing.

    Args:
        values: (value, weight).
        share: 0.5 for the median.
    """
    ordered = sorted(values)
    target, seen = share * sum(weight for _, weight in ordered), 0
    for value, weight in ordered:
        seen += weight
        if seen >= target:
            return value
    return 0


def stands_for(
    lens: Lens,
    device_id: str,
    codes: Sequence[object],
    current: str | None,
    *,
    accepts: tuple[str, ...],
    status: str,
) -> Facts:
    """One device that answers for its whole group.

    It is a real one, so its bucket and its lists are; its attributes are reduced to what the lens keeps.
    """
    return Facts(
        device_id=device_id,
        attributes=lens.attributes(codes),
        current=current,
        components={},
        modules=None,
        accepts=accepts,
        blocked=None if status == "accepted" else status,
        holds=True,
    )
