"""The decision: what does this device get, and why.

Every "no" has a name. The same function answers the poll and the operator who asks why.
"""

from dataclasses import replace
from datetime import UTC, datetime

from sdk_contract.documents import Action
from sdk_contract.wire import Reason
from service.domain.catalogue import Line, Rollout, Version
from service.domain.decisions import Decision, Facts, When
from service.domain.deliveries import choose_variant, deliveries, wanted, worth_waiting
from service.domain.prospects import Prospects, no_news, prospects
from service.domain.reach import admitting_stage, gives, unreached, watershed
from service.domain.rollbacks import destinations
from service.domain.strata import settled, stratum_of
from service.domain.windows import opening

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
    view = prospects(line, current)
    undone = _undone(line, view, current, facts) if view.disputed else None
    if current is None or (undone is None and not current.revoked):
        newer = _newer(line, view, current, facts, when)
        return newer if newer.offered else _completion(line, current, facts) or newer
    # It must not stay: it does not wait for patches in the making.
    newer = _newer(line, view, current, facts, replace(when, waiting_since=_NEVER))
    if newer.offered:
        return newer
    return _refuge(line, current, facts) if undone is None else _way_back(line, undone, facts)


def refuge(line: Line, facts: Facts) -> Decision | None:
    """Where a device goes whose version has been revoked, rollouts left aside; None where that is not so."""
    current = line.versions.get(facts.current or "")
    return _refuge(line, current, facts) if current is not None and current.revoked else None


def _newer(line: Line, view: Prospects, current: Version | None, facts: Facts, when: When) -> Decision:
    asked, later = view.to_ask(line, facts.device_id, facts.attributes)
    if not asked:
        quiet = view.quiet.get(later)
        if quiet is None:
            quiet = view.quiet[later] = _telling(line, view, [], later)
        return quiet
    refusals: list[tuple[int, Decision]] = []
    for position in asked:
        decision = ask(line, line.rollouts[position], current, facts, when)
        if decision.offered or decision.reason in _FINAL:
            return decision
        refusals.append((position, decision))
    return _telling(line, view, refusals, later)


def _telling(line: Line, view: Prospects, heard: list[tuple[int, Decision]], later: int | None) -> Decision:
    """The most telling of what was heard and of what needs no asking; of equals, that of the first rollout."""
    known: list[tuple[int, Reason]] = list(view.settled)
    asked = [position for position, _ in heard]
    stranger = next((position for position in view.open if position not in asked), None)
    if later is not None:
        known.append((later, "not_in_stage"))
    elif stranger is not None:
        known.append((stranger, "not_in_cohort"))
    refusals = [*((at, Decision(reason, rollout=line.rollouts[at])) for at, reason in known), *heard]
    telling = max(refusals, key=lambda item: (_TELLING.index(item[1].reason), -item[0]), default=None)
    return telling[1] if telling is not None else Decision("no_rollout")


def _completion(line: Line, current: Version | None, facts: Facts) -> Decision | None:
    """The rest of the version that a device runs, when it wants modules that it does not hold; needs no rollout."""
    if current is None or facts.modules is None or not facts.components:
        return None
    variant = choose_variant(current, facts)
    if variant is None or all(part.name in facts.components for part in wanted(variant, facts)):
        return None
    return Decision("update", "install", None, current, variant, 0, deliveries(line, facts, variant))


def _undone(line: Line, view: Prospects, current: Version | None, facts: Facts) -> Rollout | None:
    """The rolled-back rollout because of which the device must leave what it runs; None where it may stay.

    It may where another rollout of the same version reaches it, for example an earlier one that was completed. Whether
    the rolled-back one still would is not asked: a device that has left its cohort since runs the bad version too.
    """
    if current is None or current.revoked:
        return None
    same = [line.rollouts[position] for position in view.disputed]
    if any(gives(rollout, facts) for rollout in same):
        return None
    return next(rollout for rollout in same if rollout.state == "rolled_back")


def _way_back(line: Line, undone: Rollout, facts: Facts) -> Decision:
    """The first version to go back to that has a build for the device; else it keeps what it has."""
    stage = admitting_stage(undone, facts) or 0
    for version in destinations(line, undone, came_from=facts.came_from, shipped=facts.shipped):
        variant = choose_variant(version, facts)
        if variant is not None:
            made = deliveries(line, facts, variant)
            return Decision("rollback", "rollback", undone, version, variant, stage, made)
    return Decision("rollback", "hold", rollout=undone)


def _refuge(line: Line, revoked: Version, facts: Facts) -> Decision:
    """Something good in place of a revoked version, needing no rollout; else the device keeps what it has."""
    for version in _refuges(line, revoked, watershed(line, revoked, facts)):
        variant = choose_variant(version, facts)
        if variant is not None:
            action: Action = "install" if version.counter > revoked.counter else "rollback"
            made = deliveries(line, facts, variant)
            return Decision("revoked", action, None, version, variant, 0, made)
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


def ask(line: Line, rollout: Rollout, current: Version | None, facts: Facts, when: When) -> Decision:
    """What one rollout says to a device that runs `current`, the others left aside."""
    stage = admitting_stage(rollout, facts)
    refusal = no_news(rollout, current) or unreached(rollout, facts, stage)
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


def _offer(line: Line, rollout: Rollout, stage: int, facts: Facts, when: When) -> Decision:
    version = rollout.version
    variant = choose_variant(version, facts)
    if variant is None:
        return Decision("no_variant", rollout=rollout, version=version)
    held = rollout.policy.activation == "together" and not rollout.activated
    if held and not facts.holds:
        # It would switch as soon as it has the bytes: it gets them when all the others switch.
        return Decision("awaits_activation", rollout=rollout, version=version, stage=stage)
    made = deliveries(line, facts, variant)
    if worth_waiting(line, facts, made, when.waiting_since):
        return Decision("patch_building", rollout=rollout, version=version, variant=variant, stage=stage)
    return Decision("update", "install", rollout, version, variant, stage, made, held=held)
