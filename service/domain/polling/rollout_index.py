"""An index that finds the few of a model's rollouts that may offer something to a device.

Most of hundreds of rollouts refuse for a reason that many devices share: their version is not newer than the running
one, or the device is in none of their cohorts. The index works these refusals out once per running version, evaluates
each cohort's rule once, and looks up where the device's cohorts lead.

The index is immutable. Serving extends it with a memory (`service.serving.snapshots.rollout_indexes`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple, Protocol, Self

from sdk_contract.reasons import Reason
from service.domain.catalog import Rollout, Version
from service.domain.polling.decisions import Decision
from service.domain.polling.refusals import most_specific
from service.domain.targeting.buckets import BUCKETS, bucket_limit, hash_seed, hashed_bucket
from service.domain.targeting.rules import Attributes, Predicate, deciding_attributes

from_bytes = int.from_bytes


class StageTarget(NamedTuple):
    """A stage of a cohort.

    Attributes:
        position: of the rollout.
        percent: share of the cohort that the stage admits.
        closed: the stage is not open yet.
    """

    position: int
    percent: float
    closed: bool


class BucketRange(NamedTuple):
    """The devices that a rollout admits.

    Attributes:
        position: of the rollout.
        limit: the devices' buckets are below it; None for all devices.
        seed: what is hashed before the device's id.
    """

    position: int
    limit: float | None
    seed: bytes

    def admits(self, device: bytes) -> bool:
        """Return whether the device, given by the bytes of its id, is admitted."""
        return self.limit is None or hashed_bucket(self.seed, device) < self.limit


@dataclass(frozen=True, slots=True)
class EligibleRollouts:
    """The rollouts that a set of cohorts leads to, in order: in open stages, and in stages that are not open yet."""

    now: tuple[BucketRange, ...]
    later: tuple[BucketRange, ...]


@dataclass(frozen=True, slots=True)
class RolloutIndex:
    """The rollouts of a model, as devices with one running version see them. A position is an index into `rollouts`.

    Attributes:
        rollouts: all rollouts, in the order in which they are evaluated.
        version_refusals: the first position of each refusal that follows from the running version alone.
        cohorts: each cohort's predicate, and the stages that it leads to.
        not_refused: positions of the rollouts without such a refusal.
        contested: positions of all rollouts of the running version if one of them was rolled back; else none.
        attribute_names: attributes that decide the cohorts of `attribute_cohorts`, sorted.
        attribute_cohorts: the cohorts, by place in `cohorts`, that attributes alone decide.
        device_cohorts: the other cohorts, for example lists of devices.
        refusals_without_candidates: the first position with a closed stage for the device, or None -> the decision if
            no rollout is a candidate.
    """

    rollouts: tuple[Rollout, ...]
    version_refusals: tuple[tuple[int, Reason], ...]
    cohorts: tuple[tuple[Predicate, tuple[StageTarget, ...]], ...]
    not_refused: tuple[int, ...]
    contested: tuple[int, ...]
    attribute_names: tuple[str, ...]
    attribute_cohorts: tuple[int, ...]
    device_cohorts: tuple[int, ...]
    refusals_without_candidates: Mapping[int | None, Decision]

    @classmethod
    def build(cls, rollouts: tuple[Rollout, ...], current: Version | None) -> Self:
        """Build the index for devices that run `current`; None for an unknown version or none."""
        refusals, not_refused = _refused_by_version(rollouts, current)
        cohorts = _stage_targets(rollouts, not_refused)
        attributes = [deciding_attributes(matches) for matches in cohorts]
        closed = {target.position for targets in cohorts.values() for target in targets if target.closed}
        return cls(
            rollouts=rollouts,
            version_refusals=refusals,
            cohorts=tuple((matches, tuple(targets)) for matches, targets in cohorts.items()),
            not_refused=not_refused,
            contested=_contested(rollouts, current),
            attribute_names=tuple(
                sorted(frozenset().union(*(names for names in attributes if names is not None)))
            ),
            attribute_cohorts=tuple(place for place, names in enumerate(attributes) if names is not None),
            device_cohorts=tuple(place for place, names in enumerate(attributes) if names is None),
            refusals_without_candidates={
                later: most_specific(_implied_refusals(rollouts, refusals, not_refused, (), later))
                for later in (None, *closed)
            },
        )

    def candidates(self, device_id: str, attributes: Attributes) -> tuple[list[int], int | None]:
        """Return the rollouts to evaluate, in order, and the first one with a stage that is not open yet."""
        cohorts = self.cohorts_by_attributes(device_id, attributes)
        for place in self.device_cohorts:
            if self.cohorts[place][0](device_id, attributes):
                cohorts = (*cohorts, place)
        eligible = self.eligible(cohorts)
        device = device_id.encode()
        # `BucketRange.admits` inlined, since there may be dozens of ranges at every poll.
        found = [
            position
            for position, limit, seed in eligible.now
            if limit is None or from_bytes(sha256(seed + device).digest()[:8]) % BUCKETS < limit
        ]
        for later in eligible.later:
            if later.position not in found and later.admits(device):
                return found, later.position
        return found, None

    def refusal(self, refusals: Sequence[tuple[int, Decision]], later: int | None) -> Decision:
        """Return the most specific refusal of all rollouts.

        Args:
            refusals: position and refusal of each candidate.
            later: the first rollout with a stage that is not open yet, as `candidates` found it.
        """
        if not refusals:
            return self.refusals_without_candidates[later]
        evaluated = [position for position, _ in refusals]
        implied = _implied_refusals(self.rollouts, self.version_refusals, self.not_refused, evaluated, later)
        return most_specific([*implied, *refusals])

    def cohorts_by_attributes(self, device_id: str, attributes: Attributes) -> tuple[int, ...]:
        """Return those of `attribute_cohorts` that the device is in."""
        return tuple(
            [place for place in self.attribute_cohorts if self.cohorts[place][0](device_id, attributes)]
        )

    def eligible(self, cohorts: tuple[int, ...]) -> EligibleRollouts:
        """Return the rollouts that a set of cohorts, by place in `cohorts`, leads to."""
        now: dict[int, float] = {}
        later: dict[int, float] = {}
        for place in cohorts:
            for target in self.cohorts[place][1]:
                percents = later if target.closed else now
                percents[target.position] = max(target.percent, percents.get(target.position, 0))
        return EligibleRollouts(self._bucket_ranges(now), self._bucket_ranges(later))

    def _bucket_ranges(self, percents: Mapping[int, float]) -> tuple[BucketRange, ...]:
        return tuple(
            BucketRange(
                position,
                None if percent >= 100 else bucket_limit(percent),
                hash_seed(self.rollouts[position].salt),
            )
            for position, percent in sorted(percents.items())
        )


class RolloutIndexes(Protocol):
    """Source of a model's indexes, which may keep them from poll to poll."""

    def index_for(self, current: Version | None) -> RolloutIndex:
        """Return the index for devices that run `current`; None for an unknown version or none."""


def version_refusal(rollout: Rollout, current: Version | None) -> Reason | None:
    """Return why the rollout's version is nothing for a device that runs `current`; None if it may be."""
    if rollout.version.revoked or rollout.state == "rolled_back":
        return "no_rollout"
    if current is None or current.counter < rollout.version.counter:
        return None
    return "up_to_date" if current.counter == rollout.version.counter else "downgrade"


def _refused_by_version(
    rollouts: Sequence[Rollout], current: Version | None
) -> tuple[tuple[tuple[int, Reason], ...], tuple[int, ...]]:
    """Return the first position of each refusal, and the positions without one."""
    first: dict[Reason, int] = {}
    not_refused: list[int] = []
    for position, rollout in enumerate(rollouts):
        reason = version_refusal(rollout, current)
        if reason is None:
            not_refused.append(position)
        else:
            first.setdefault(reason, position)
    return tuple((position, reason) for reason, position in first.items()), tuple(not_refused)


def _stage_targets(
    rollouts: Sequence[Rollout], positions: Iterable[int]
) -> dict[Predicate, list[StageTarget]]:
    targets: dict[Predicate, list[StageTarget]] = defaultdict(list)
    for position in positions:
        rollout = rollouts[position]
        # Only then does a stage that is not open yet have no other refusal than `not_in_stage`.
        simple = rollout.state == "running" and not rollout.policy.holdout_percent
        for index, stage in enumerate(rollout.stages):
            closed = simple and index > rollout.stage
            targets[stage.matches].append(StageTarget(position, stage.percent, closed))
    return targets


def _contested(rollouts: Sequence[Rollout], current: Version | None) -> tuple[int, ...]:
    own = [
        position for position, rollout in enumerate(rollouts) if current and rollout.version.id == current.id
    ]
    return tuple(own) if any(rollouts[position].state == "rolled_back" for position in own) else ()


def _implied_refusals(
    rollouts: Sequence[Rollout],
    version_refusals: Sequence[tuple[int, Reason]],
    not_refused: Sequence[int],
    evaluated: Sequence[int],
    later: int | None,
) -> list[tuple[int, Decision]]:
    """Return the refusals of rollouts that were not evaluated; one for each reason is enough."""
    reasons = list(version_refusals)
    unmatched = next((position for position in not_refused if position not in evaluated), None)
    if later is not None:
        reasons.append((later, "not_in_stage"))
    elif unmatched is not None:
        reasons.append((unmatched, "not_in_cohort"))
    return [(position, Decision(reason, rollout=rollouts[position])) for position, reason in reasons]
