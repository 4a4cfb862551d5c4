"""Polls: decide from the snapshot, request an attempt if there is an offer, sign the directive, respond."""

import random
from collections.abc import Callable
from datetime import datetime

from service.domain.catalog import ModelView
from service.domain.platform.load import Load, first_after_outage_s, next_poll_s
from service.domain.polling.decisions import Decision, DecisionTime, DeviceContext
from service.domain.polling.offers import decide
from service.domain.polling.revocation_targets import revocation_target
from service.domain.rollouts.retry_window import retry_delay_s
from service.errors import DeviceSuspended, ModelNotServed, Unavailable, UnknownDevice
from service.infrastructure.tokens import DeviceClaims
from service.serving.attempts.offer_request import OfferRequest, OfferResult
from service.serving.batching.write_batcher import WriteBatcher
from service.serving.checkins import Checkin, CheckinBuffer
from service.serving.polls.context import AuthenticatedPoll, PollSettings, device_context, select_model
from service.serving.polls.offering import offer_request, refused_decision
from service.serving.polls.response_renderer import PollResult, ResponseRenderer
from service.serving.snapshots.cache import SnapshotCache

OUTAGE_RETRY_S = 300
"""About when a device polls again that got no offer because the database was down."""
PATCH_BUILDING_POLL_S = 60
"""When a device polls again that waits for a patch."""

PatchDemandHook = Callable[[ModelView, DeviceContext, Decision, datetime], Decision]
"""Sees which patches a decision lacks, and may let the device wait for one; see `patch_demand`."""


def passthrough(_model: ModelView, _device: DeviceContext, decision: Decision, _now: datetime) -> Decision:
    """Return the decision unchanged."""
    return decision


class PollService:
    """Responds to polls; one instance per process.

    Attributes:
        settings: intervals, waits and limits.
        peek_demand: returns what `patch_demand` would, without recording demand; for explanations.
    """

    def __init__(
        self,
        *,
        snapshots: SnapshotCache,
        offers: WriteBatcher[OfferRequest, OfferResult],
        checkins: CheckinBuffer,
        renderer: ResponseRenderer,
        settings: PollSettings,
        load: Callable[[], Load] = Load,
        patch_demand: PatchDemandHook = passthrough,
        peek_demand: PatchDemandHook = passthrough,
    ) -> None:
        """Take the parts of the hot path; `load` returns how busy this process is."""
        self._snapshots = snapshots
        self._offers = offers
        self._checkins = checkins
        self._renderer = renderer
        self.settings = settings
        self._load = load
        self._patch_demand = patch_demand
        self.peek_demand = peek_demand

    async def respond(self, poll: AuthenticatedPoll) -> bytes:
        """The JSON of a `PollResponse`.

        Raises:
            UnknownModel, ModelRequired: the request is about no model that is served.
            UnknownDevice: the device has not enrolled.
            ModelNotServed: the device is enrolled for other models only.
            DeviceSuspended: the device was decommissioned.
        """
        snapshot = self._snapshots.current
        model = select_model(snapshot, poll.request.model)
        _require_model_allowed(model, poll.claims)
        device = device_context(snapshot, poll)
        if device.blocked_status == "decommissioned":
            raise DeviceSuspended("this device was decommissioned; ask the operator of the fleet")
        time = DecisionTime(poll.now, poll.now - self.settings.patch_wait)
        decision = decide(model, device, time, snapshot.rollout_indexes[model.name])
        decision = self._patch_demand(model, device, decision, poll.now)
        self._record_checkin(model, poll)
        result = None
        # Leaving a revoked version and completing one belong to no rollout, so no attempt is counted.
        if decision.offered and decision.rollout is not None:
            result = await self._request_attempt(
                offer_request(model, decision, device, poll.now, self.settings)
            )
            if not result.device_known:
                raise UnknownDevice("this device has not enrolled; enroll it first", field="device_id")
            if result.refusal is not None:
                decision = revocation_target(model, device) or refused_decision(decision, result)
        poll_result = PollResult(
            model=model,
            decision=decision,
            attempt_id=result.attempt_id if result else None,
            next_poll_s=self._next_poll_s(decision, poll.now),
            retry=decision.offered and result is not None and result.retry,
        )
        return self._renderer.render(snapshot, poll_result, poll.request, poll.body, poll.now)

    async def _request_attempt(self, request: OfferRequest) -> OfferResult:
        """Without a database there is no attempt and no offer: the device keeps what it has and polls again soon."""
        try:
            return await self._offers.submit(request)
        except Unavailable:
            return OfferResult(None, "degraded")

    def _record_checkin(self, model: ModelView, poll: AuthenticatedPoll) -> None:
        request = poll.request
        self._checkins.record(
            Checkin(request.device_id, model.name, request.current_version, request.attributes, poll.now)
        )

    def _next_poll_s(self, decision: Decision, now: datetime) -> int:
        chance = random.random()  # noqa: S311 - timing, not a secret
        interval_s = self.settings.poll_interval_s
        if decision.retry_window is not None:
            return max(1, round(retry_delay_s(decision.retry_window, now, interval_s, chance)))
        if decision.reason == "degraded":
            return first_after_outage_s(interval_s, OUTAGE_RETRY_S, chance)
        if decision.reason == "patch_building":
            interval_s = min(PATCH_BUILDING_POLL_S, interval_s)
        elif decision.activation_deferred or decision.reason == "awaiting_activation":
            interval_s = min(self.settings.staged_poll_interval_s, interval_s)
        return next_poll_s(interval_s, self._load(), chance)


def _require_model_allowed(model: ModelView, claims: DeviceClaims) -> None:
    if claims.models is not None and model.name not in claims.models:
        raise ModelNotServed(f"this device is not enrolled for the model {model.name}", field="model")
