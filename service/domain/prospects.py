"""Which rollouts a device has to be asked about: seldom more than a few of hundreds.

Most rollouts say no for a reason that many devices share: their version is no news to whoever runs this one,
or they are for cohorts that the device is not in. Those answers are worked out once for each running version, and
each cohort's rule is asked once for a device, however many rollouts name it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sdk_contract.wire import Reason
from service.domain.catalogue import Line, Rollout, Version
from service.domain.cohorts import Attributes, Predicate, admits, bucket


@dataclass(frozen=True, slots=True)
class Prospects:
    """The rollouts of a model, by position, as they look from one running version.

    Attributes:
        settled: rollouts whose refusal hangs on the running version alone.
        cohorts: what each cohort's rule leads to: (rollout, percentage of its stage).
        open: all that are not settled, in order.
        disputed: all rollouts of the running version, where one of them was rolled back; else none.
    """

    settled: tuple[tuple[int, Reason], ...]
    cohorts: tuple[tuple[Predicate, tuple[tuple[int, float], ...]], ...]
    open: tuple[int, ...]
    disputed: tuple[int, ...]

    def to_ask(self, line: Line, device_id: str, attributes: Attributes) -> list[int]:
        """The rollouts that may say anything but `not_in_cohort`, in order."""
        reach: dict[int, float] = {}
        for matches, steps in self.cohorts:
            if matches(device_id, attributes):
                for position, percent in steps:
                    reach[position] = max(percent, reach.get(position, 0))
        return [
            position
            for position in sorted(reach)
            if reach[position] >= 100
            or admits(reach[position], bucket(line.rollouts[position].salt, device_id))
        ]


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


def _work_out(rollouts: Sequence[Rollout], current: Version | None) -> Prospects:
    over: list[tuple[int, Reason]] = []
    opened: list[int] = []
    cohorts: dict[Predicate, list[tuple[int, float]]] = defaultdict(list)
    for position, rollout in enumerate(rollouts):
        refusal = no_news(rollout, current)
        if refusal is not None:
            over.append((position, refusal))
            continue
        opened.append(position)
        for stage in rollout.stages:
            cohorts[stage.matches].append((position, stage.percent))
    steps = tuple((matches, tuple(steps)) for matches, steps in cohorts.items())
    first: dict[Reason, int] = {}
    for position, reason in over:
        first.setdefault(reason, position)
    settled = tuple((at, reason) for reason, at in first.items())
    return Prospects(settled, steps, tuple(opened), _disputed(rollouts, current))


def _disputed(rollouts: Sequence[Rollout], current: Version | None) -> tuple[int, ...]:
    own = [at for at, rollout in enumerate(rollouts) if current and rollout.version.id == current.id]
    return tuple(own) if any(rollouts[at].state == "rolled_back" for at in own) else ()
