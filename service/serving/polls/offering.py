"""From a decision to a request for an attempt, and from a refused request back to a decision."""

from dataclasses import replace
from datetime import datetime

from sdk_contract.documents import Action
from service.domain.catalog import ModelView
from service.domain.polling.decisions import Decision, DeviceContext
from service.domain.polling.failure_fingerprint import failure_fingerprint
from service.domain.rollouts.policy import Pacing
from service.domain.targeting.device_classes import device_class_of, effective_class
from service.errors import UnknownModel
from service.serving.attempts.offer_request import OfferRequest, OfferResult
from service.serving.polls.context import PollSettings


def offer_request(
    model: ModelView, decision: Decision, device: DeviceContext, now: datetime, settings: PollSettings
) -> OfferRequest:
    """The request for an attempt that a decision to install or roll back leads to.

    Raises:
        UnknownModel: the decision names no rollout, version or variant.
    """
    rollout, version, variant = decision.rollout, decision.version, decision.variant
    if rollout is None or version is None or variant is None:
        raise UnknownModel("an offer needs a rollout, a version and a variant")
    return OfferRequest(
        device_id=device.device_id,
        model=model.name,
        rollout_id=rollout.id,
        version_id=version.id,
        stage=decision.stage,
        action=decision.action,
        from_version=device.current,
        bytes_offered=sum(delivery.bytes for delivery in decision.deliveries),
        now=now,
        lease_until=now + settings.attempt_lease,
        failure_fingerprint=failure_fingerprint(variant.name, decision.deliveries, device.attributes),
        # Leaving a bad version must not wait, and most devices still have the files of the version before.
        pacing=Pacing() if decision.action == "rollback" else rollout.policy.pacing,
        max_failures=settings.max_failures,
        device_class=effective_class(device_class_of(device.attributes), rollout.device_classes),
        known_device_classes=rollout.device_classes,
    )


def refused_decision(decision: Decision, result: OfferResult) -> Decision:
    """The decision for a device whose request for an attempt was refused."""
    action: Action = "pause" if result.refusal == "model_disabled" else "none"
    return replace(
        decision,
        reason=result.refusal or "degraded",
        action=action,
        deliveries=(),
        retry_window=result.retry_window,
    )
