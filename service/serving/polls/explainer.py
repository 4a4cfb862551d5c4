"""Explain the next poll of one device to an operator, with the code that decides polls."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncConnection

from sdk_contract.formats import FULL, GLP1
from service.domain.catalog import ModelView, Rollout
from service.domain.polling.decisions import Decision, DecisionTime, DeviceContext
from service.domain.polling.explanation import RolloutTrace, explain
from service.domain.polling.revocation_targets import revocation_target
from service.domain.rollouts.pacing import HOUR_MINUTES, MINUTE, minute_of
from service.domain.targeting.device_classes import device_class_of, effective_class
from service.infrastructure import database
from service.operations.fleet import devices
from service.serving.attempts import bandwidth_budget
from service.serving.attempts.grants import dry_run
from service.serving.attempts.offer_request import OfferResult
from service.serving.polls.context import PollSettings, select_model
from service.serving.polls.offering import offer_request, refused_decision
from service.serving.polls.service import PatchDemandHook, passthrough
from service.serving.snapshots.snapshot import Snapshot

PATCH_FORMATS = (GLP1, FULL)
_GATE = text(
    """
    select rollout.waiting_for, rollout.reason as last_action_reason,
      evaluation.decision, evaluation.reason, evaluation.at
    from rollouts rollout
    left join lateral (
      select * from gate_evaluations where gate_evaluations.rollout_id = rollout.id order by gate_evaluations.id desc limit 1
    ) evaluation on true
    where rollout.id = :rollout
    """
)
"""Why the next stage is not open: what the rollout waits for, its last reason, and its last gate evaluation."""


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """What the database knows about a device.

    Attributes:
        device_id: id of the device.
        status: `accepted`, `pending`, `suspended` or `decommissioned`.
        attributes: as last reported; the snapshot has those that an operator set.
        current_versions: model -> label of the version that the device last reported.
        previous_versions: model -> label of the version that it ran before, if an attempt replaced it.
    """

    device_id: str
    status: str
    attributes: Mapping[str, Any]
    current_versions: Mapping[str, str | None]
    previous_versions: Mapping[str, str | None] = field(default_factory=dict)


def read_device_record(engine: Engine, device_id: str) -> DeviceRecord:
    """Read what the database knows about a device.

    Raises:
        UnknownDevice: there is no such device.
    """
    with database.read_only(engine) as session:
        row = devices.require(session, device_id)
        installed = {item.model: item.version for item in devices.installations(session, device_id)}
        previous = devices.previous_versions(session, device_id)
        return DeviceRecord(row.id, row.status, row.attributes, installed, previous)


@dataclass(frozen=True, slots=True)
class DecisionExplainer:
    """Explains decisions from one snapshot; reads the database, writes nothing.

    Attributes:
        snapshot: what polls are decided from.
        settings: the settings that polls depend on.
        connection: for what polls read from the database.
        peek_demand: whether the device would wait for a patch that is not being built yet.
    """

    snapshot: Snapshot
    settings: PollSettings
    connection: AsyncConnection
    peek_demand: PatchDemandHook = passthrough

    async def explain(self, record: DeviceRecord, model: str | None, now: datetime) -> dict[str, Any]:
        """The decision on the device's next poll, and the trace of every rollout.

        Raises:
            UnknownModel, ModelRequired: the model is not served, or is needed and not named.
        """
        model_view, time = (
            select_model(self.snapshot, model),
            DecisionTime(now, now - self.settings.patch_wait),
        )
        device = self._device_context(record, model_view)
        explanation = explain(model_view, device, time, self.snapshot.cohorts)
        decided = self.peek_demand(model_view, device, explanation.decision, time.now)
        result = await self._dry_run(model_view, decided, device, time)
        decision = _final(model_view, decided, device, result)
        offered = decision.offered
        return {
            "device_id": record.device_id,
            "model": model_view.name,
            "current_version": device.current,
            "status": record.status,
            "attributes": device.attributes,
            "reason": decision.reason,
            "action": decision.action,
            "version": decision.version.label if decision.version and offered else None,
            "variant": decision.variant.name if decision.variant and offered else None,
            "rollout": decision.rollout.name if decision.rollout else None,
            "retry_at": decision.retry_window.opens_at if decision.retry_window else None,
            "rollouts": [
                await self._rollout(model_view, rollout, trace, device, time)
                for rollout, trace in zip(model_view.rollouts, explanation.rollouts, strict=True)
            ],
        }

    def _device_context(self, record: DeviceRecord, model_view: ModelView) -> DeviceContext:
        return DeviceContext(
            device_id=record.device_id,
            attributes={**record.attributes, **self.snapshot.overrides.get(record.device_id, {})},
            current=record.current_versions.get(model_view.name),
            components={},
            wanted_components=None,
            accepts=PATCH_FORMATS,
            blocked_status=self.snapshot.blocked.get(record.device_id),
            came_from=record.previous_versions.get(model_view.name),
            supports_deferred_activation=True,  # as the reference client; the features of other clients are not stored
        )

    async def _dry_run(
        self, model_view: ModelView, decision: Decision, device: DeviceContext, time: DecisionTime
    ) -> OfferResult | None:
        if not decision.offered or decision.rollout is None:
            return None
        return await dry_run(
            self.connection, offer_request(model_view, decision, device, time.now, self.settings)
        )

    async def _rollout(
        self,
        model_view: ModelView,
        rollout: Rollout,
        trace: RolloutTrace,
        device: DeviceContext,
        time: DecisionTime,
    ) -> dict[str, Any]:
        decided = self.peek_demand(model_view, device, trace.decision, time.now)
        result = await self._dry_run(model_view, decided, device, time)
        shown = asdict(trace)
        del shown["decision"]
        return shown | {
            "reason": _final(model_view, decided, device, result).reason,
            "gate": await self._gate(rollout, device),
            "failure_limit": self._failure_limit(result),
            "pacing": await self._pacing(rollout, time),
        }

    async def _gate(self, rollout: Rollout, device: DeviceContext) -> dict[str, Any]:
        device_class = effective_class(device_class_of(device.attributes), rollout.device_classes)
        rows = await self.connection.execute(_GATE, {"rollout": rollout.id})
        row = rows.mappings().one_or_none()
        gate: dict[str, Any] = dict(row) if row is not None else {}
        return gate | {"device_class": device_class, "paused": device_class in rollout.paused_classes}

    def _failure_limit(self, result: OfferResult | None) -> dict[str, Any] | None:
        if result is None or not (result.failures or result.retry):
            return None
        return {
            "failures": result.failures,
            "max_failures": self.settings.max_failures,
            "may_retry": result.retry,
        }

    async def _pacing(self, rollout: Rollout, time: DecisionTime) -> dict[str, Any] | None:
        bounds = rollout.policy.pacing
        if not bounds.is_limited:
            return None
        budget = (await bandwidth_budget.read_budgets(self.connection, {rollout.id: bounds}, time.now))[
            rollout.id
        ]
        since = minute_of(time.now) - (HOUR_MINUTES - 1) * MINUTE
        return {
            "max_open_downloads": bounds.max_open_downloads,
            "downloading": budget.open_downloads if bounds.max_open_downloads is not None else None,
            "max_bytes_per_hour": bounds.max_bytes_per_hour,
            "bytes_last_hour": sum(
                size for minute, size in budget.bytes_by_minute.items() if minute >= since
            ),
        }


def _final(
    model_view: ModelView, decision: Decision, device: DeviceContext, result: OfferResult | None
) -> Decision:
    if result is None or result.refusal is None:
        return decision
    return revocation_target(model_view, device) or refused_decision(decision, result)
