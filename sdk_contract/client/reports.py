"""Events for the server: queued in the record with the step they report, sent in batches, dropped when confirmed."""

import math
import re
import secrets
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from sdk_contract.client.api import DeviceApi
from sdk_contract.client.errors import Refused
from sdk_contract.client.record import MAX_OUTBOX, Record
from sdk_contract.client.store import Store
from sdk_contract.documents import timestamp
from sdk_contract.errors import ContractError
from sdk_contract.wire import MAX_EVENTS, Event, EventState

MAX_DETAIL = 1000
MAX_METRICS = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_MALFORMED = (400, 413, 422)


def note(
    record: Record,
    state: EventState,
    *,
    code: str | None = None,
    detail: str | None = None,
    metrics: Mapping[str, float] | None = None,
    moment: float | None = None,
) -> None:
    """Queue an event about the attempt under way; it leaves with the next batch."""
    attempt = record.attempt
    if attempt is None:
        return
    attempt.seq += 1
    at = time.time() if moment is None else moment
    queue(
        record,
        Event(
            event_id=event_id(at),
            attempt_id=attempt.attempt_id,
            model=attempt.release.model,
            version=attempt.release.version,
            seq=attempt.seq,
            state=state,
            code=code,
            detail=sendable(detail) if detail else None,
            bytes=attempt.bytes,
            duration_ms=max(0, int((at - attempt.started_at) * 1000)),
            metrics=usable(metrics or {}),
            at=timestamp(datetime.fromtimestamp(at, UTC)),
        ),
    )


def usable(metrics: Mapping[str, float]) -> dict[str, float]:
    """What a server can take: finite numbers under plain names. A host's odd metric must not stop an update."""
    found = {name: float(value) for name, value in metrics.items() if _NAME.fullmatch(name)}
    finite = {name: value for name, value in found.items() if math.isfinite(value)}
    return dict(list(finite.items())[:MAX_METRICS])


def sendable(text: str) -> str:
    """Text of an error, bounded, without what UTF-8 cannot carry."""
    return text[:MAX_DETAIL].encode("utf-8", "replace").decode()


def queue(record: Record, event: Event) -> None:
    """Add an event; where the queue is full the oldest metrics go first, then the oldest of all."""
    record.outbox.append(event)
    if len(record.outbox) > MAX_OUTBOX:
        oldest = next((i for i, entry in enumerate(record.outbox) if entry.state == "metrics"), 0)
        del record.outbox[oldest]


def flush(store: Store, api: DeviceApi) -> int:
    """Send what is queued, oldest first; returns how many the server confirmed.

    Raises:
        ContractError: no answer; what was not confirmed stays queued, and its ids make the retry harmless.
    """
    sent = 0
    while batch := store.read().outbox[:MAX_EVENTS]:
        _deliver(api, batch)
        confirmed = {event.event_id for event in batch}
        store.change(partial(_drop, confirmed=confirmed))
        sent += len(batch)
    return sent


def flush_quietly(store: Store, api: DeviceApi) -> None:
    """As `flush`; a server that cannot be told now is told next time."""
    with suppress(ContractError, OSError):
        flush(store, api)


def _deliver(api: DeviceApi, batch: list[Event]) -> None:
    """Send a batch; one that is refused as such is sent singly, and only the culprit is given up."""
    try:
        api.report(batch)
    except Refused as refusal:
        if refusal.status not in _MALFORMED:
            raise
        for event in batch if len(batch) > 1 else []:
            _deliver(api, [event])


def event_id(moment: float) -> str:
    """A UUID version 7 (RFC 9562): sorts by time, so that a server's index grows at its end."""
    bits = (int(moment * 1000) & (2**48 - 1)) << 80 | secrets.randbits(80)
    bits = bits & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=bits & ~(0x3 << 62) | 0x2 << 62))


def _drop(record: Record, *, confirmed: set[str]) -> None:
    record.outbox = [event for event in record.outbox if event.event_id not in confirmed]
