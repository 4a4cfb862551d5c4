"""One poll: decide from the snapshot, get a grant where something is offered, sign, answer."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sdk_contract.documents import Action
from sdk_contract.wire import PollRequest
from service.domain.catalogue import Line
from service.domain.decisions import Decision, Facts, When
from service.domain.load import Load, first_after_outage_s, next_poll_s
from service.domain.offers import decide, refuge
from service.domain.openings import aim
from service.domain.penalty import circumstances
from service.domain.policy import Pacing
from service.domain.strata import settled, stratum_of
from service.errors import (
    DeviceSuspended,
    ModelNotServed,
    ModelRequired,
    Unavailable,
    UnknownDevice,
    UnknownModel,
)
from service.serving.checkins import Checkin, Checkins
from service.serving.compose import Composer, Verdict
from service.serving.grants import Grant, Wish
from service.serving.group_commit import GroupCommit
from service.serving.snapshot import Snapshot, SnapshotKeeper
from service.tokens import DeviceClaims

AFTER_OUTAGE_S = 300
"""About when a device comes again that would have been offered something while nothing could be written down."""
SOON_S = 60
"""Next poll of a device that is waiting for something short, such as a patch in the making."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often devices come, how long they wait for a patch, how long an attempt may be silent.

    Attributes:
        strikes: failures of a version after which a device is left alone.
        held_poll_s: how often those come at least that wait for the word to switch.
    """

    poll_s: int
    patch_wait: timedelta
    lease: timedelta
    strikes: int = 3
    held_poll_s: int = 300


@dataclass(frozen=True, slots=True)
class Question:
    """A poll as it arrived.

    Attributes:
        body: the request's bytes; their digest goes under the directive's signature.
    """

    request: PollRequest
    body: bytes
    claims: DeviceClaims
    now: datetime


Demand = Callable[[Line, Facts, Decision, datetime], Decision]
"""Hears what polls lack, and may let a device wait for it; see `patch_demand`."""


def as_decided(_line: Line, _facts: Facts, decision: Decision, _now: datetime) -> Decision:
    """The decision as it is; nothing is asked for."""
    return decision


class PollDesk:
    """Answers polls; one per process.

    Attributes:
        pace: how often devices come, and how long they wait.
        foresee: what `demand` would say, without asking for anything: for `why`.
    """

    def __init__(
        self,
        *,
        snapshots: SnapshotKeeper,
        grants: GroupCommit[Wish, Grant],
        checkins: Checkins,
        composer: Composer,
        pace: Pace,
        load: Callable[[], Load] = Load,
        demand: Demand = as_decided,
        foresee: Demand = as_decided,
    ) -> None:
        """Keep the ports; `load` tells how busy this process is, `demand` what is asked for when a patch is missing."""
        self._load = load
        self._demand = demand
        self._snapshots = snapshots
        self._grants = grants
        self._checkins = checkins
        self._composer = composer
        self.pace = pace
        self.foresee = foresee

    async def answer(self, question: Question) -> bytes:
        """What the device shall do: a `PollAnswer` as JSON.

        Raises:
            UnknownModel, ModelRequired: nothing to decide about.
            UnknownDevice: the device has not enrolled here.
            ModelNotServed: the device was let in for other models.
            DeviceSuspended: the device has been decommissioned.
        """
        snapshot = self._snapshots.current
        line = choose_line(snapshot, question.request.model)
        _require_served(line, question.claims)
        facts = facts_of(snapshot, question)
        if facts.blocked == "decommissioned":
            raise DeviceSuspended("this device has been decommissioned")
        decision = decide(line, facts, When(question.now, question.now - self.pace.patch_wait))
        decision = self._demand(line, facts, decision, question.now)
        self._note(line, question)
        grant = None
        # Leaving a revoked version, or completing one, is no part of a rollout: no attempt is counted.
        if decision.offered and decision.rollout is not None:
            grant = await self._granted(wish_for(line, decision, facts, question.now, self.pace))
            if not grant.known:
                raise UnknownDevice("this device has not enrolled here", field="device_id")
            if grant.refusal is not None:
                decision = refuge(line, facts) or refused(decision, grant)
        verdict = Verdict(
            line=line,
            decision=decision,
            attempt_id=grant.attempt_id if grant else None,
            next_poll_s=self._next_poll_s(decision, question.now),
            retry=decision.offered and grant is not None and grant.retry,
        )
        return self._composer.compose(snapshot, verdict, question.request, question.body, question.now)

    async def _granted(self, wish: Wish) -> Grant:
        """What cannot be written down is not offered; the device keeps what it has and comes again soon."""
        try:
            return await self._grants.submit(wish)
        except Unavailable:
            return Grant(None, "degraded")

    def _note(self, line: Line, question: Question) -> None:
        request = question.request
        self._checkins.note(
            Checkin(request.device_id, line.name, request.current_version, request.attributes, question.now)
        )

    def _next_poll_s(self, decision: Decision, now: datetime) -> int:
        chance = random.random()  # noqa: S311 - timing, not a secret
        if decision.opening is not None:
            return max(1, round(aim(decision.opening, now, self.pace.poll_s, chance)))
        base = self.pace.poll_s
        if decision.reason == "degraded":
            return first_after_outage_s(base, AFTER_OUTAGE_S, chance)
        if decision.reason == "patch_building":
            base = min(SOON_S, base)
        elif decision.held or decision.reason == "awaits_activation":
            base = min(self.pace.held_poll_s, base)
        return next_poll_s(base, self._load(), chance)


def wish_for(line: Line, decision: Decision, facts: Facts, now: datetime, pace: Pace) -> Wish:
    """What a decision to offer something asks of `grants`."""
    if decision.rollout is None or decision.version is None or decision.variant is None:
        raise UnknownModel("an offer without a rollout")
    return Wish(
        device_id=facts.device_id,
        model=line.name,
        rollout_id=decision.rollout.id,
        version_id=decision.version.id,
        stage=decision.stage,
        action=decision.action,
        from_version=facts.current,
        bytes_offered=sum(delivery.bytes for delivery in decision.deliveries),
        now=now,
        lease_until=now + pace.lease,
        circumstances=circumstances(decision.variant.name, decision.deliveries, facts.attributes),
        # Getting off a bad version does not wait for its turn; most devices have the files of the one before.
        pacing=Pacing() if decision.action == "rollback" else decision.rollout.policy.pacing,
        strikes=pace.strikes,
        stratum=settled(stratum_of(facts.attributes), decision.rollout.strata),
        known=decision.rollout.strata,
    )


def refused(decision: Decision, grant: Grant) -> Decision:
    """The decision after `grants` has said no to it."""
    action: Action = "hold" if grant.refusal == "killed" else "none"
    return replace(
        decision, reason=grant.refusal or "degraded", action=action, deliveries=(), opening=grant.opening
    )


def _require_served(line: Line, claims: DeviceClaims) -> None:
    if claims.models is not None and line.name not in claims.models:
        raise ModelNotServed(f"this device was not let in for {line.name}", field="model")


def choose_line(snapshot: Snapshot, model: str | None) -> Line:
    """The model that a request is about; it need not say so where there is only one.

    Raises:
        UnknownModel: it is not served.
        ModelRequired: there are several.
    """
    if model is not None:
        if model not in snapshot.lines:
            raise UnknownModel(f"there is no model {model!r}", field="model")
        return snapshot.lines[model]
    if len(snapshot.lines) > 1:
        raise ModelRequired("this server has several models; name one", field="model")
    if not snapshot.lines:
        raise UnknownModel("this server has no model yet", field="model")
    return next(iter(snapshot.lines.values()))


def facts_of(snapshot: Snapshot, question: Question) -> Facts:
    """What is known of the device: an operator's word over the token's over its own."""
    request, device_id = question.request, question.request.device_id
    attributes, told, set_ = (
        request.attributes,
        question.claims.attributes,
        snapshot.overrides.get(device_id),
    )
    if told or set_:
        attributes = {**attributes, **told, **(set_ or {})}
    return Facts(
        device_id=device_id,
        attributes=attributes,
        current=request.current_version,
        components=request.components,
        modules=frozenset(request.modules) if request.modules is not None else None,
        accepts=tuple(request.accepts),
        blocked=snapshot.blocked.get(device_id),
        came_from=request.previous_version,
        shipped=request.factory_version,
        holds="hold" in request.features,
        staged=request.staged_version,
    )
