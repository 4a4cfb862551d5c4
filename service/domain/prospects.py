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

Step = tuple[int, float, bool]


@dataclass(frozen=True, slots=True)
class Prospects:
    """The rollouts of a model, by position, as they look from one running version.

    Attributes:
        settled: rollouts whose refusal hangs on the running version alone.
        cohorts: what each cohort's rule leads to: (rollout, percentage of its stage, not open yet).
        open: all that are not settled, in order.
        disputed: all rollouts of the running version, where one of them was rolled back; else none.
    """

    settled: tuple[tuple[int, Reason], ...]
    cohorts: tuple[tuple[Predicate, tuple[Step, ...]], ...]
    open: tuple[int, ...]
    disputed: tuple[int, ...]

    def to_ask(self, line: Line, device_id: str, attributes: Attributes) -> tuple[list[int], int | None]:
        """The rollouts that may offer something, in order, and the first that may later: `not_in_stage`."""
        now: dict[int, float] = {}
        later: dict[int, float] = {}
        for matches, steps in self.cohorts:
            if matches(device_id, attributes):
                for position, percent, closed in steps:
                    reach = later if closed else now
                    reach[position] = max(percent, reach.get(position, 0))

        def admitted(position: int, percent: float) -> bool:
            return percent >= 100 or admits(percent, bucket(line.rollouts[position].salt, device_id))

        asked = [position for position in sorted(now) if admitted(position, now[position])]
        waiting = (
            position
            for position in sorted(later)
            if position not in asked and admitted(position, later[position])
        )
        return asked, next(waiting, None)


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
            cohorts[stage.matches].append((position, stage.percent, plain and index > rollout.stage))
    steps = tuple((matches, tuple(steps)) for matches, steps in cohorts.items())
    first: dict[Reason, int] = {}
    for position, reason in over:
        first.setdefault(reason, position)
    settled = tuple((at, reason) for reason, at in first.items())
    return Prospects(settled, steps, tuple(opened), _disputed(rollouts, current))


def _disputed(rollouts: Sequence[Rollout], current: Version | None) -> tuple[int, ...]:
    own = [at for at, rollout in enumerate(rollouts) if current and rollout.version.id == current.id]
    return tuple(own) if any(rollouts[at].state == "rolled_back" for at in own) else ()
