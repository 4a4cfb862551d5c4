"""The decision: what does this device get, and why.

Every "no" has a name. The same function answers the poll and the operator who asks why.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sdk_contract.documents import Action
from sdk_contract.wire import Reason
from service.domain.catalogue import Component, Line, Patch, Rollout, Variant, Version
from service.domain.cohorts import Attributes, admits, bucket
from service.domain.openings import Opening
from service.domain.prospects import no_news, prospects
from service.domain.rollbacks import destinations
from service.domain.strata import settled, stratum_of
from service.domain.windows import opening


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the device that asks.

    Attributes:
        current: label of what it runs, if it said so.
        components: name -> sha256 of what is on its disk.
        modules: names of the components that it wants; None for all.
        accepts: patch formats that it can apply, in order of preference.
        blocked: its status where that is not `accepted`.
        came_from: label of what it ran before, if it says so.
        shipped: label of what shipped inside its app, if it says so.
        holds: it can stage a version and wait for the word to switch.
        staged: label of what it has staged, so that switching costs no bytes.
    """

    device_id: str
    attributes: Attributes
    current: str | None
    components: Mapping[str, str]
    modules: frozenset[str] | None
    accepts: tuple[str, ...]
    blocked: str | None = None
    came_from: str | None = None
    shipped: str | None = None
    holds: bool = False
    staged: str | None = None


@dataclass(frozen=True, slots=True)
class When:
    """The moment of a decision.

    Attributes:
        waiting_since: a patch that is being built is waited for if it was asked for after this moment.
    """

    now: datetime
    waiting_since: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one component gets to the device: nothing to do, or patches in order and the full file last."""

    component: Component
    keep: bool
    patches: tuple[Patch, ...] = ()

    @property
    def bytes(self) -> int:
        """What the preferred way downloads."""
        if self.keep:
            return 0
        return self.patches[0].size if self.patches else self.component.size


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict on one poll.

    Attributes:
        stage: index of the first stage that admits the device; the attempt is counted there.
        opening: when it is worth asking again, where that is known.
        held: the device shall stage the version, and switch only when told to.
    """

    reason: Reason
    action: Action = "none"
    rollout: Rollout | None = None
    version: Version | None = None
    variant: Variant | None = None
    stage: int = 0
    deliveries: tuple[Delivery, ...] = ()
    opening: Opening | None = None
    held: bool = False

    @property
    def offered(self) -> bool:
        """Whether the device gets something to install."""
        return self.action in ("install", "rollback")


def decide(line: Line, facts: Facts, when: When) -> Decision:
    """Answer one poll.

    The first rollout that admits the device and has something newer decides; else the most telling
    refusal of all of them. A device on a revoked version is brought to a good one in any case.

    Args:
        line: the model, as of the snapshot.
        facts: the device, as of its request.
        when: the moment.
    """
    if facts.blocked:
        return Decision("suspended")
    if line.killed:
        return Decision("killed", "hold")
    current = line.versions.get(facts.current or "")
    decision = _best(line, current, facts, when)
    # Whatever led here: devices would refuse to go below the floor of what they run.
    if decision.version is not None and current is not None and decision.version.counter < current.floor:
        return Decision("below_floor", rollout=decision.rollout)
    return decision


def _best(line: Line, current: Version | None, facts: Facts, when: When) -> Decision:
    undone = _undone(line, current, facts)
    if current is None or (undone is None and not current.revoked):
        newer = _newer(line, current, facts, when)
        return newer if newer.offered else _completion(line, current, facts) or newer
    # It must not stay: it does not wait for patches in the making.
    newer = _newer(line, current, facts, replace(when, waiting_since=_NEVER))
    if newer.offered:
        return newer
    return _refuge(line, current, facts) if undone is None else _way_back(line, undone, facts)


def refuge(line: Line, facts: Facts) -> Decision | None:
    """Where a device goes whose version has been revoked, rollouts left aside; None where that is not so."""
    current = line.versions.get(facts.current or "")
    return _refuge(line, current, facts) if current is not None and current.revoked else None


def _newer(line: Line, current: Version | None, facts: Facts, when: When) -> Decision:
    view = prospects(line, current)
    asked, later = view.to_ask(line, facts.device_id, facts.attributes)
    refusals = [
        (position, Decision(reason, rollout=line.rollouts[position])) for position, reason in view.settled
    ]
    for position in asked:
        decision = ask(line, line.rollouts[position], current, facts, when)
        if decision.offered or decision.reason in _FINAL:
            return decision
        refusals.append((position, decision))
    stranger = next((position for position in view.open if position not in asked), None)
    if later is not None:
        refusals.append((later, Decision("not_in_stage", rollout=line.rollouts[later])))
    elif stranger is not None:
        refusals.append((stranger, Decision("not_in_cohort", rollout=line.rollouts[stranger])))
    telling = max(refusals, key=lambda item: (_TELLING.index(item[1].reason), -item[0]), default=None)
    return telling[1] if telling is not None else Decision("no_rollout")


def _completion(line: Line, current: Version | None, facts: Facts) -> Decision | None:
    """The rest of the version that a device runs, when it wants modules that it does not hold; needs no rollout."""
    variant = choose_variant(current, facts) if current is not None else None
    if variant is None or facts.modules is None or not facts.components:
        return None
    if all(part.name in facts.components for part in _wanted(variant, facts)):
        return None
    return Decision("update", "install", None, current, variant, 0, _deliveries(line, facts, variant))


def _undone(line: Line, current: Version | None, facts: Facts) -> Rollout | None:
    """The rolled-back rollout because of which the device must leave what it runs; None where it may stay.

    It may where another rollout of the same version reaches it, for example an earlier one that was completed. Whether
    the rolled-back one still would is not asked: a device that has left its cohort since runs the bad version too.
    """
    disputed = prospects(line, current).disputed
    if not disputed or current is None or current.revoked:
        return None
    same = [line.rollouts[position] for position in disputed]
    if any(_gives(rollout, facts) for rollout in same):
        return None
    return next(rollout for rollout in same if rollout.state == "rolled_back")


def _gives(rollout: Rollout, facts: Facts) -> bool:
    """Whether a rollout stands by its version for this device, even if it pauses."""
    stage = admitting_stage(rollout, facts)
    if stage is None or is_held_back(rollout, facts.device_id):
        return False
    return rollout.state == "completed" or (rollout.state in {"running", "paused"} and stage <= rollout.stage)


def _way_back(line: Line, undone: Rollout, facts: Facts) -> Decision:
    """The first version to go back to that has a build for the device; else it keeps what it has."""
    stage = admitting_stage(undone, facts) or 0
    for version in destinations(line, undone, came_from=facts.came_from, shipped=facts.shipped):
        variant = choose_variant(version, facts)
        if variant is not None:
            deliveries = _deliveries(line, facts, variant)
            return Decision("rollback", "rollback", undone, version, variant, stage, deliveries)
    return Decision("rollback", "hold", rollout=undone)


def _refuge(line: Line, revoked: Version, facts: Facts) -> Decision:
    """Something good in place of a revoked version, needing no rollout; else the device keeps what it has."""
    for version in _refuges(line, revoked, watershed(line, revoked, facts)):
        variant = choose_variant(version, facts)
        if variant is not None:
            action: Action = "install" if version.counter > revoked.counter else "rollback"
            deliveries = _deliveries(line, facts, variant)
            return Decision("revoked", action, None, version, variant, 0, deliveries)
    return Decision("revoked", "hold")


def _refuges(line: Line, revoked: Version, step: Version | None) -> list[Version]:
    """Good versions for devices that must leave a revoked one, best first.

    Those that were released to everyone come first, the newest before older ones; then what came before the
    revoked one, such as the version that shipped inside the app and never had a rollout. What a rollout was
    stopped over is no refuge, the floor of the revoked version still holds (devices would refuse), and nobody
    skips the watershed `step`.
    """
    released = {item.version.id for item in line.rollouts if item.state == "completed"}
    stopped = {item.version.id for item in line.rollouts if item.state in {"halted", "rolled_back"}}
    good = [
        version
        for version in line.versions.values()
        if not version.revoked
        and version.counter >= revoked.floor
        and (step is None or version.counter <= step.counter)
        and (version.id in released or (version.counter < revoked.counter and version.id not in stopped))
    ]
    return sorted(good, key=lambda version: (version.id in released, version.counter), reverse=True)


_NEVER = datetime.max.replace(tzinfo=UTC)
_FINAL = ("patch_building", "no_variant", "outside_window")
"""Refusals that leave the device waiting for this rollout: nothing older is given in the meantime."""
_TELLING: tuple[Reason, ...] = (
    "no_rollout",
    "not_in_cohort",
    "downgrade",
    "up_to_date",
    "held_back",
    "halted",
    "not_in_stage",
    "awaits_activation",
    "paused",
    "stratum_held",
    "below_floor",
)
"""From the least to the most telling refusal."""


def ask(line: Line, rollout: Rollout, current: Version | None, facts: Facts, when: When) -> Decision:
    """What one rollout says to a device that runs `current`, the others left aside."""
    stage = admitting_stage(rollout, facts)
    refusal = no_news(rollout, current) or _unreached(rollout, facts, stage)
    if refusal is not None or stage is None:
        return Decision(refusal or "not_in_cohort", rollout=rollout)
    if rollout.held and settled(stratum_of(facts.attributes), rollout.strata) in rollout.held:
        return Decision("stratum_held", rollout=rollout, stage=stage)
    step = watershed(line, current, facts)
    if step is not None and step.counter < rollout.version.counter:
        return Decision("below_floor", rollout=rollout, stage=stage)
    if facts.staged == rollout.version.label:
        # It has all the bytes: windows and patches in the making are nothing to it.
        return _offer(line, rollout, stage, facts, replace(when, waiting_since=_NEVER))
    shut = opening(rollout.policy.windows, facts.attributes, when.now) if rollout.policy.windows else None
    if shut is not None:
        return Decision("outside_window", rollout=rollout, stage=stage, opening=shut)
    return _offer(line, rollout, stage, facts, when)


_SILENT: Mapping[str, Reason] = {"paused": "paused", "halted": "halted", "scheduled": "no_rollout"}
"""States without offers. A device that waits through a pause keeps what it has downloaded; after a halt it need not."""


def _unreached(rollout: Rollout, facts: Facts, stage: int | None) -> Reason | None:
    """Why the rollout does not reach the device as things stand, if that is so."""
    if stage is None:
        return "not_in_cohort"
    if is_held_back(rollout, facts.device_id):
        return "held_back"
    if rollout.state in _SILENT:
        return _SILENT[rollout.state]
    if rollout.state != "completed" and stage > rollout.stage:
        return "not_in_stage"
    return None


def watershed(line: Line, current: Version | None, facts: Facts) -> Version | None:
    """The version that the device has to run before anything newer; none for one that has no model yet."""
    if facts.current is None and not facts.components:
        return None
    return line.watershed_above(current)


def is_held_back(rollout: Rollout, device_id: str) -> bool:
    """Whether the device is of the control group: the buckets from the top, the last that any stage would reach."""
    share = rollout.policy.holdback_percent
    return share > 0 and not admits(100 - share, bucket(rollout.salt, device_id))


def admitting_stage(rollout: Rollout, facts: Facts) -> int | None:
    """The first stage, open or not, whose cohort and percentage the device is in."""
    place = bucket(rollout.salt, facts.device_id)
    for index, stage in enumerate(rollout.stages):
        if admits(stage.percent, place) and stage.matches(facts.device_id, facts.attributes):
            return index
    return None


def _offer(line: Line, rollout: Rollout, stage: int, facts: Facts, when: When) -> Decision:
    version = rollout.version
    variant = choose_variant(version, facts)
    if variant is None:
        return Decision("no_variant", rollout=rollout, version=version)
    held = rollout.policy.activation == "together" and not rollout.activated
    if held and not facts.holds:
        # It would switch as soon as it has the bytes: it gets them when all the others switch.
        return Decision("awaits_activation", rollout=rollout, version=version, stage=stage)
    sources = sources_of(line, facts)
    if any(_worth_waiting(line, sources, part, facts.accepts, when) for part in _wanted(variant, facts)):
        return Decision("patch_building", rollout=rollout, version=version, variant=variant, stage=stage)
    deliveries = _deliveries(line, facts, variant)
    return Decision("update", "install", rollout, version, variant, stage, deliveries, held=held)


def _wanted(variant: Variant, facts: Facts) -> list[Component]:
    return [part for part in variant.components if facts.modules is None or part.name in facts.modules]


def _deliveries(line: Line, facts: Facts, variant: Variant) -> tuple[Delivery, ...]:
    sources = sources_of(line, facts)
    return tuple(_deliver(line, sources, part, facts.accepts) for part in _wanted(variant, facts))


def choose_variant(version: Version, facts: Facts) -> Variant | None:
    """The build for this class of device: the highest priority that matches."""
    matching = (item for item in version.variants if item.matches(facts.device_id, facts.attributes))
    return next(matching, None)


def sources_of(line: Line, facts: Facts) -> dict[str, str]:
    """Component name -> digest of what the device has; from its own list, else from the version it names."""
    if facts.components:
        return dict(facts.components)
    current = line.versions.get(facts.current or "")
    variant = choose_variant(current, facts) if current else None
    return {part.name: part.sha256 for part in variant.components} if variant else {}


def _worth_waiting(
    line: Line,
    sources: Mapping[str, str],
    part: Component,
    accepts: tuple[str, ...],
    when: When,
) -> bool:
    """Whether it pays to come back: the only patches that the device could use are being made, not for too long."""
    source = sources.get(part.name)
    ways = line.patches.get((source, part.sha256), ()) if source else ()
    usable = [way for way in ways if way.format in accepts]
    return not any(way.sha256 for way in usable) and any(
        way.created_at > when.waiting_since for way in usable
    )


def _deliver(line: Line, sources: Mapping[str, str], part: Component, accepts: tuple[str, ...]) -> Delivery:
    source = sources.get(part.name)
    if source == part.sha256 or part.sha256 in sources.values():
        return Delivery(part, keep=True)
    ways = line.patches.get((source, part.sha256), ()) if source else ()
    ready = [way for way in ways if way.sha256 and way.format in accepts]
    return Delivery(part, keep=False, patches=tuple(sorted(ready, key=lambda way: accepts.index(way.format))))
