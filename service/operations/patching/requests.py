"""Patches that polls have missed. Writes `patch_requests`."""

from datetime import datetime

from sqlalchemy import delete, text
from sqlalchemy.orm import Session

from service import store

ADD_REQUESTS = text(
    """
    insert into patch_requests as known (source_sha256, target_sha256, request_count, last_requested_at)
    select source, target, count, now()
    from jsonb_to_recordset(cast(:requests as jsonb)) as request(source text, target text, count bigint)
    where exists (select 1 from blobs where sha256 = source) and exists (select 1 from blobs where sha256 = target)
    order by source, target
    on conflict (source_sha256, target_sha256) do update set
      request_count = known.request_count + excluded.request_count, last_requested_at = excluded.last_requested_at
    """
)
"""Add to the counts of requested patches (`requests`, a JSON array); pairs with unknown blobs are ignored."""


def delete_older(session: Session, *, than: datetime) -> None:
    """Delete the requests that were last made before a time."""
    table = store.patches.PatchRequestRow
    session.execute(delete(table).where(table.last_requested_at < than))
