"""Which rollouts a device has to be asked about: seldom more than a few of hundreds.

Most rollouts say no for a reason that many devices share: their version is no news to whoever runs this one,
or they are for cohorts that the device is not in. Those answers are worked out once for each running version; each
cohort's rule is asked once for all devices that it cannot tell apart, since a fleet of millions has few
combinations of the attributes that rules name; and where these cohorts lead is looked up as a whole.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

from sdk_contract.wire import Reason
from service.domain.catalogue import Line, Rollout, Version
from service.domain.cohorts import BUCKETS, Attributes, Predicate, decided_by, limit_of, place_of, seed_of
from service.domain.decisions import Decision

from_bytes = int.from_bytes
MAX_KEPT = 500
"""Classes of devices, and sets of cohorts, that are remembered for one running version."""
MAX_KEPT_TEXT = 256
"""Characters of a class that is remembered: devices write them."""
_MISSING, _TRUE, _FALSE = object(), object(), object()
"""No value, and the two that `==` takes for 1 and 0."""


class Step(NamedTuple):
    """Where a cohort leads: to a stage of a rollout, up to a percentage of its devices, not open yet or open."""

    position: int
    percent: float
    closed: bool


class Door(NamedTuple):
    """A rollout as it stands open to some devices: those in buckets below the limit, None for all."""

    position: int
    limit: float | None
    seed: bytes

    def admits(self, device: bytes) -> bool:
        """Whether the device is among them."""
        return self.limit is None or place_of(self.seed, device) < self.limit


@dataclass(frozen=True, slots=True)
class Reach:
    """The rollouts that a set of cohorts leads to, in order: those that may offer something, and those that may later."""

    now: tuple[Door, ...]
    later: tuple[Door, ...]


@dataclass(frozen=True, slots=True)
class Prospects:
    """The rollouts of a model, by position, as they look from one running version.

    Attributes:
        settled: rollouts whose refusal hangs on the running version alone.
        cohorts: what each cohort's rule leads to.
        open: all that are not settled, in order.
        disputed: all rollouts of the running version, where one of them was rolled back; else none.
        named: the attributes on which the cohorts of `by_class` hang, in some order.
        by_class: the cohorts, by position, that only attributes decide on.
        by_device: the others, such as lists.
        quiet: what devices hear that no rollout is asked about, by the first that may have something later.
    """

    settled: tuple[tuple[int, Reason], ...]
    cohorts: tuple[tuple[Predicate, tuple[Step, ...]], ...]
    open: tuple[int, ...]
    disputed: tuple[int, ...]
    named: tuple[str, ...]
    by_class: tuple[int, ...]
    by_device: tuple[int, ...]
    quiet: dict[int | None, Decision] = field(default_factory=dict, compare=False)
    _classes: dict[tuple[Any, ...], tuple[int, ...]] = field(default_factory=dict, compare=False)
    _reaches: dict[tuple[int, ...], Reach] = field(default_factory=dict, compare=False)

    def to_ask(self, line: Line, device_id: str, attributes: Attributes) -> tuple[list[int], int | None]:
        """The rollouts that may offer something, in order, and the first that may later: `not_in_stage`."""
        inside = self._inside(device_id, attributes)
        reach = self._reaches.get(inside)
        if reach is None:
            reach = _remember(self._reaches, inside, self._reach(line, inside))
        device = device_id.encode()
        # In line, since there may be a bucket to work out for each of dozens of rollouts.
        asked = [
            position
            for position, limit, seed in reach.now
            if limit is None or from_bytes(sha256(seed + device).digest()[:8]) % BUCKETS < limit
        ]
        for door in reach.later:
            if door.position not in asked and door.admits(device):
                return asked, door.position
        return asked, None

    def _inside(self, device_id: str, attributes: Attributes) -> tuple[int, ...]:
        """The cohorts that the device is in, by position; not in order."""
        inside = self._by_attributes(device_id, attributes)
        for place in self.by_device:
            if self.cohorts[place][0](device_id, attributes):
                inside = (*inside, place)
        return inside

    def _by_attributes(self, device_id: str, attributes: Attributes) -> tuple[int, ...]:
        said = [attributes.get(name, _MISSING) for name in self.named]
        key = tuple([(_TRUE if one else _FALSE) if one is True or one is False else one for one in said])
        try:
            found = self._classes.get(key)
        except TypeError:  # a list or an object in a token: no rule compares it
            return self._ask_rules(device_id, attributes)
        if found is None:
            found = self._ask_rules(device_id, attributes)
            if sum(len(one) for one in said if isinstance(one, str)) <= MAX_KEPT_TEXT:
                _remember(self._classes, key, found)
        return found

    def _ask_rules(self, device_id: str, attributes: Attributes) -> tuple[int, ...]:
        return tuple([place for place in self.by_class if self.cohorts[place][0](device_id, attributes)])

    def _reach(self, line: Line, inside: Iterable[int]) -> Reach:
        now: dict[int, float] = {}
        later: dict[int, float] = {}
        for place in inside:
            for step in self.cohorts[place][1]:
                reach = later if step.closed else now
                reach[step.position] = max(step.percent, reach.get(step.position, 0))
        return Reach(_doors(line, now), _doors(line, later))


def prospects(line: Line, current: Version | None) -> Prospects:
    """The view from `current`; worked out once for each line and version."""
    key = current.counter if current is not None else None
    found = line.views.get(key)
    if not isinstance(found, Prospects):
        found = line.views[key] = _work_out(line.rollouts, current)
    return found


def no_news(rollout: Rollout, current: Version | None) -> Reason | None:
    """Why the rollout's version is nothing for a device that runs `current`, if that is so."""
    if rollout.version.revoked or rollout.state == "rolled_back":
        return "no_rollout"
    if current is None or current.counter < rollout.version.counter:
        return None
    return "up_to_date" if current.counter == rollout.version.counter else "downgrade"


def _doors(line: Line, reach: dict[int, float]) -> tuple[Door, ...]:
    return tuple(
        Door(position, None if percent >= 100 else limit_of(percent), seed_of(line.rollouts[position].salt))
        for position, percent in sorted(reach.items())
    )


def _remember(kept: dict[Any, Any], key: Any, value: Any) -> Any:
    """Keep it; when there are too many, forget the others: what is asked often comes back at once."""
    if len(kept) >= MAX_KEPT:
        kept.clear()
    kept[key] = value
    return value


def _work_out(rollouts: Sequence[Rollout], current: Version | None) -> Prospects:
    over: list[tuple[int, Reason]] = []
    opened: list[int] = []
    cohorts: dict[Predicate, list[Step]] = defaultdict(list)
    for position, rollout in enumerate(rollouts):
        refusal = no_news(rollout, current)
        if refusal is not None:
            over.append((position, refusal))
            continue
        opened.append(position)
        # Where nothing else may have a word in it, a stage that is not open yet says one thing only.
        plain = rollout.state == "running" and not rollout.policy.holdback_percent
        for index, stage in enumerate(rollout.stages):
            cohorts[stage.matches].append(Step(position, stage.percent, plain and index > rollout.stage))
    first: dict[Reason, int] = {}
    for position, reason in over:
        first.setdefault(reason, position)
    needs = [decided_by(matches) for matches in cohorts]
    return Prospects(
        settled=tuple((at, reason) for reason, at in first.items()),
        cohorts=tuple((matches, tuple(steps)) for matches, steps in cohorts.items()),
        open=tuple(opened),
        disputed=_disputed(rollouts, current),
        named=tuple(sorted(frozenset().union(*(names for names in needs if names is not None)))),
        by_class=tuple(place for place, names in enumerate(needs) if names is not None),
        by_device=tuple(place for place, names in enumerate(needs) if names is None),
    )


def _disputed(rollouts: Sequence[Rollout], current: Version | None) -> tuple[int, ...]:
    own = [at for at, rollout in enumerate(rollouts) if current and rollout.version.id == current.id]
    return tuple(own) if any(rollouts[at].state == "rolled_back" for at in own) else ()
