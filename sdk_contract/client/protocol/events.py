"""Events for the server: queued in the state together with their transition, sent in batches, removed once confirmed."""

import math
import re
import secrets
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from sdk_contract.client.errors import RequestRejected
from sdk_contract.client.protocol.device_api import DeviceApi
from sdk_contract.client.storage.client_state import MAX_OUTBOX, ClientState
from sdk_contract.client.storage.store import Store
from sdk_contract.documents import format_timestamp
from sdk_contract.errors import ContractError
from sdk_contract.wire import MAX_EVENTS, Event, EventState

MAX_DETAIL = 1000
MAX_METRICS = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_MALFORMED = (400, 413, 422)


def queue_attempt_event(
    state: ClientState,
    event_state: EventState,
    *,
    code: str | None = None,
    detail: str | None = None,
    metrics: Mapping[str, float] | None = None,
    moment: float | None = None,
) -> None:
    """Queue an event about the current attempt; without an attempt, do nothing."""
    attempt = state.attempt
    if attempt is None:
        return
    attempt.last_event_seq += 1
    at = time.time() if moment is None else moment
    enqueue(
        state,
        Event(
            event_id=new_event_id(at),
            attempt_id=attempt.attempt_id,
            model=attempt.release.model,
            version=attempt.release.version,
            seq=attempt.last_event_seq,
            state=event_state,
            code=code,
            detail=encodable_text(detail) if detail else None,
            bytes=attempt.bytes_downloaded,
            duration_ms=max(0, int((at - attempt.started_at) * 1000)),
            metrics=valid_metrics(metrics or {}),
            at=format_timestamp(datetime.fromtimestamp(at, UTC)),
        ),
    )


def valid_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Keep the metrics that the server accepts: finite numbers under valid names.

    Others are dropped, because an invalid metric of the app must not stop an update.
    """
    named = {name: float(value) for name, value in metrics.items() if _NAME.fullmatch(name)}
    finite = {name: value for name, value in named.items() if math.isfinite(value)}
    return dict(list(finite.items())[:MAX_METRICS])


def encodable_text(text: str) -> str:
    """Shorten the text of an error, and replace characters that UTF-8 cannot encode."""
    return text[:MAX_DETAIL].encode("utf-8", "replace").decode()


def enqueue(state: ClientState, event: Event) -> None:
    """Add an event. A full queue drops its oldest metrics first, then its oldest event."""
    state.outbox.append(event)
    if len(state.outbox) > MAX_OUTBOX:
        oldest = next((i for i, entry in enumerate(state.outbox) if entry.state == "metrics"), 0)
        del state.outbox[oldest]


def send_queued(store: Store, api: DeviceApi) -> int:
    """Send the queued events, oldest first, and return the number of confirmed ones.

    Raises:
        ContractError: the server cannot be reached; unconfirmed events stay queued, and their ids make a retry safe.
    """
    sent = 0
    while batch := store.read_state().outbox[:MAX_EVENTS]:
        _send_batch(api, batch)
        confirmed = {event.event_id for event in batch}
        store.change_state(partial(_remove_sent, confirmed=confirmed))
        sent += len(batch)
    return sent


def try_send_queued(store: Store, api: DeviceApi) -> None:
    """Like `send_queued`, but on an error the events wait for the next call."""
    with suppress(ContractError, OSError):
        send_queued(store, api)


def _send_batch(api: DeviceApi, batch: list[Event]) -> None:
    """Send a batch. If the server finds it malformed, send its events one by one and drop only the malformed ones."""
    try:
        api.report_events(batch)
    except RequestRejected as rejection:
        if rejection.status not in _MALFORMED:
            raise
        for event in batch if len(batch) > 1 else []:
            _send_batch(api, [event])


def new_event_id(moment: float) -> str:
    """Create a UUID version 7 (RFC 9562), which sorts by time and so keeps the server's index compact."""
    bits = (int(moment * 1000) & (2**48 - 1)) << 80 | secrets.randbits(80)
    bits = bits & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=bits & ~(0x3 << 62) | 0x2 << 62))


def _remove_sent(state: ClientState, *, confirmed: set[str]) -> None:
    state.outbox = [event for event in state.outbox if event.event_id not in confirmed]
