"""Grants attempts: one per device and model at a time, and none for a rollout that has stopped.

A batch takes a few statements whatever its size: lock the rollouts, read the history of the devices, close the attempts
that new ones replace, insert or renew attempts. A rollout without pacing is locked in share mode, because it must only not
stop meanwhile. A paced rollout is locked exclusively, so that one process counts its downloads before the next one reads.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import TextClause
from sqlalchemy.ext.asyncio import AsyncConnection

from sdk_contract.reasons import Reason
from service.domain.rollouts.pacing import PacingBudget
from service.domain.targeting.device_classes import MAX_DEVICE_CLASSES, OTHER, paused_classes
from service.operations.outcomes import attempt_statements
from service.serving.attempts import bandwidth_budget
from service.serving.attempts.grant_statements import (
    LOCK_OPEN_ATTEMPTS,
    LOCK_ROLLOUTS_EXCLUSIVE,
    LOCK_ROLLOUTS_SHARED,
    REGISTER_DEVICE_CLASSES,
    SELECT_DEVICE_HISTORY,
    SELECT_ROLLOUTS,
)
from service.serving.attempts.offer_request import OfferRequest, OfferResult


class _DeviceHistory(NamedTuple):
    """What the database knows about a device and the version that it requests.

    Attributes:
        status: status of the device; None if it is not enrolled.
        disabled: whether the model is disabled.
        failures: failures of the version in these circumstances since the last reset.
        ever: failures of the version in any circumstances.
        renews: whether the device has an open attempt for the same offer.
    """

    status: str | None
    disabled: bool | None
    failures: int
    ever: int
    renews: bool


DeviceModel = tuple[str, str]
"""Device id and model name; a device has at most one open attempt per model."""
OfferingRollouts = dict[tuple[UUID, str], frozenset[str]]
"""(Rollout id, action it offers: `install`, or `rollback` once rolled back) -> paused device classes."""


async def grant_offers(
    connection: AsyncConnection, requests: Sequence[OfferRequest]
) -> Sequence[OfferResult]:
    """Grant a batch of requests; a device that occurs twice in the batch gets the same attempt twice."""
    unique = {_key(request): request for request in requests}
    paced = [request for request in unique.values() if request.pacing.is_limited]
    unpaced = [request for request in unique.values() if not request.pacing.is_limited]
    # Always in this order, and each by id, so that two processes cannot deadlock.
    offering = await _offering_rollouts(connection, LOCK_ROLLOUTS_SHARED, unpaced) | await _offering_rollouts(
        connection, LOCK_ROLLOUTS_EXCLUSIVE, paced
    )
    if paced:
        await connection.execute(LOCK_OPEN_ATTEMPTS, {"requests": _as_json(paced)})
    results, budgets = await _decide(connection, unique, offering)
    allowed = [
        unique[key] for key, result in results.items() if result.device_known and result.refusal is None
    ]
    attempts: dict[DeviceModel, str] = {}
    if allowed:
        parameters = {"requests": _as_json(allowed)}
        await _register_device_classes(connection, allowed)
        await connection.execute(attempt_statements.SUPERSEDE, parameters)
        granted = await connection.scalar(attempt_statements.INSERT_OR_RENEW, parameters)
        attempts = {_key(allowed[int(position)]): attempt for position, attempt in (granted or {}).items()}
        await bandwidth_budget.write_reservations(connection, budgets)
    return [replace(results[_key(request)], attempt_id=attempts.get(_key(request))) for request in requests]


async def dry_run(connection: AsyncConnection, request: OfferRequest) -> OfferResult:
    """What `grant_offers` would return now; locks nothing and writes nothing."""
    results, _ = await _decide(
        connection, {_key(request): request}, await _offering_rollouts(connection, SELECT_ROLLOUTS, [request])
    )
    return results[_key(request)]


def _key(request: OfferRequest) -> DeviceModel:
    return request.device_id, request.model


async def _register_device_classes(connection: AsyncConnection, requests: Sequence[OfferRequest]) -> None:
    """Insert device classes that the snapshot does not know yet."""
    unregistered = [
        request
        for request in requests
        if request.device_class not in request.known_device_classes and request.device_class != OTHER
    ]
    if unregistered:
        columns = {
            "rollouts": [request.rollout_id for request in unregistered],
            "device_classes": [request.device_class for request in unregistered],
        }
        await connection.execute(REGISTER_DEVICE_CLASSES, columns | {"max_classes": MAX_DEVICE_CLASSES})


async def _offering_rollouts(
    connection: AsyncConnection, query: TextClause, requests: Iterable[OfferRequest]
) -> OfferingRollouts:
    rollouts = list({request.rollout_id for request in requests})
    if not rollouts:
        return {}
    rows = await connection.execute(query, {"rollouts": rollouts})
    return {
        (row.id, "rollback" if row.state == "rolled_back" else "install"): paused_classes(row.paused_classes)
        for row in rows
    }


async def _decide(
    connection: AsyncConnection, requests: Mapping[DeviceModel, OfferRequest], offering: OfferingRollouts
) -> tuple[dict[DeviceModel, OfferResult], dict[UUID, PacingBudget]]:
    """A result without attempt for each request, and the budgets in which new downloads are reserved."""
    rows = await connection.scalar(SELECT_DEVICE_HISTORY, {"requests": _as_json(list(requests.values()))})
    histories = {key: _DeviceHistory(*row) for key, row in zip(requests, rows or (), strict=True)}
    results = {key: _result(request, histories[key], offering) for key, request in requests.items()}
    # Only new downloads count: an open attempt has reserved its slot and its bytes before.
    new_downloads = [
        request
        for key, request in requests.items()
        if request.pacing.is_limited
        and results[key].device_known
        and results[key].refusal is None
        and not histories[key].renews
    ]
    bounds = {request.rollout_id: request.pacing for request in new_downloads}
    earliest = min((request.now for request in new_downloads), default=datetime.max.replace(tzinfo=UTC))
    budgets = await bandwidth_budget.read_budgets(connection, bounds, earliest)
    for request in new_downloads:
        retry_window = budgets[request.rollout_id].reserve(request.bytes_offered, request.now)
        if retry_window is not None:
            results[_key(request)] = replace(
                results[_key(request)], refusal="throttled", retry_window=retry_window
            )
    return results, budgets


def _result(request: OfferRequest, history: _DeviceHistory, offering: OfferingRollouts) -> OfferResult:
    if history.status is None:
        return OfferResult(None, device_known=False)
    retry = history.ever > 0 and history.failures == 0
    return OfferResult(None, _refusal(request, history, offering), retry=retry, failures=history.failures)


def _refusal(request: OfferRequest, history: _DeviceHistory, offering: OfferingRollouts) -> Reason | None:
    if history.status != "accepted":
        return "suspended"
    if history.disabled:
        return "model_disabled"
    if (request.rollout_id, request.action) not in offering:
        return "paused"
    if request.action == "install" and request.device_class in offering[request.rollout_id, request.action]:
        return "device_class_paused"
    return "too_many_failures" if history.failures >= request.max_failures else None


def _as_json(requests: Sequence[OfferRequest]) -> str:
    """The batch as JSON, as the statements read it; `place` is the position in the batch."""
    return json.dumps(
        [
            {
                "place": place,
                "id": str(uuid4()),
                "device_id": request.device_id,
                "model": request.model,
                "rollout_id": str(request.rollout_id),
                "version_id": request.version_id,
                "stage": request.stage,
                "action": request.action,
                "from_version": request.from_version,
                "bytes_offered": request.bytes_offered,
                "now": request.now.isoformat(),
                "lease_until": request.lease_until.isoformat(),
                "failure_fingerprint": request.failure_fingerprint,
                "device_class": request.device_class,
            }
            for place, request in enumerate(requests)
        ]
    )
