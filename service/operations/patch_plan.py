"""The plan of patches: what each pair is worth, which are made now, which are of no use any more. Writes `patches`.

Made anew every half minute from the census and from what polls have asked for; a plan that changes nothing writes
nothing.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from service import store
from service.blobs import BlobStore, blob_key
from service.domain.patch_plan import Base, Pair
from service.domain.patch_value import Demand, Entry, Made, unused, weigh
from service.jobs import Bell
from service.operations import patches

BASES = 100
"""Versions back from the newest that are looked at."""
WISH_LIFETIME = timedelta(days=1)
KEPT = timedelta(days=1)
"""A patch is not retired before it has been there for so long, whoever runs what."""
GRACE = timedelta(days=2)
"""Between the last offer of a patch and the end of its bytes: longer than any attempt may be silent by default."""
PLANNED = ("draft", "awaiting_approval", "scheduled", "running", "paused")


def entries(
    session: Session, version: store.versions.VersionRow, *, limit: int, now: datetime
) -> list[Entry]:
    """Every pair that leads to a version, the most valuable first.

    Args:
        session: whose transaction is read.
        version: with all that is in it.
        limit: so many patches to one version are made at most.
        now: the moment.
    """
    census = store.devices.census(session, version.model)
    bases = [
        Base(row.label, patches.files_of(row), census.get(row.label, 0))
        for row in store.versions.earlier_served(session, version, limit=BASES)
    ]
    files = patches.files_of(version)
    return weigh(files, bases, _demand(session, [file.sha256 for file in files], now), limit=limit)


def remake(session: Session, bell: Bell, *, limit: int, now: datetime) -> list[Entry]:
    """Ask for the patches that are worth it now; returns them."""
    store.patches.forget_wishes(session, before=now - WISH_LIFETIME)
    asked = {wish.target_sha256 for wish in store.patches.wishes(session, since=now - WISH_LIFETIME)}
    wanted = [
        entry
        for version in _targets(session, asked)
        for entry in entries(session, version, limit=limit, now=now)
        if entry.wanted
    ]
    for entry in wanted:
        patches.request(session, bell, entry.pair.source, entry.pair.target)
    return wanted


def retire(session: Session, *, now: datetime) -> list[Pair]:
    """Take patches out of service that nobody can want any more; their bytes stay for a while."""
    served = {
        Pair(row.source_sha256, row.target_sha256): row
        for row in store.patches.ready_before(session, now - KEPT)
    }
    if not served:
        return []
    versions = store.versions.served_versions(session)
    under_way = set(store.attempts.under_way(session))
    found = unused(
        list(served),
        run=_blobs(_run(session, versions)),
        offered=_blobs(_offered(session, versions)),
        under_way=_blobs(version for version in versions if version.id in under_way),
    )
    for pair in found:
        served[pair].state, served[pair].retired_at = "retired", now
    return found


def bury(session: Session, blobs: BlobStore, *, now: datetime) -> int:
    """Delete the bytes of patches that have been retired for long; returns how many.

    The row is locked meanwhile: who asks for the patch anew waits, and then it is made anew.
    """
    rows = store.patches.retired_before(session, now - GRACE)
    if not rows:
        return 0
    open_to = set(store.attempts.under_way(session))
    under_way = _blobs(
        version for version in store.versions.served_versions(session) if version.id in open_to
    )
    dead = [row for row in rows if row.target_sha256 not in under_way]
    for row in dead:
        if row.sha256 is not None:
            blobs.delete(blob_key(row.sha256))
        row.sha256, row.descriptor = None, None
    return len(dead)


def _demand(session: Session, targets: Sequence[str], now: datetime) -> Demand:
    rows = store.patches.patches(session, targets=targets, limit=10_000)
    wishes = store.patches.wishes(session, since=now - WISH_LIFETIME)
    return Demand(
        made={
            Pair(row.source_sha256, row.target_sha256): _made(row)
            for row in rows
            if row.format == patches.FORMAT
        },
        asked={Pair(wish.source_sha256, wish.target_sha256): wish.asked for wish in wishes},
    )


def _made(row: store.patches.PatchRow) -> Made:
    stats = row.stats or {}
    return Made(row.state, row.size or stats.get("patch_size") or stats.get("predicted_size"))


def _targets(session: Session, asked: set[str]) -> list[store.versions.VersionRow]:
    """Versions on offer, and those that polls have missed patches to."""
    versions = store.versions.served_versions(session)
    offered = {version.id for version in _offered(session, versions)}
    return [
        version
        for version in versions
        if version.state == "ready" and (version.id in offered or asked & _blobs([version]))
    ]


def _run(session: Session, versions: Sequence[store.versions.VersionRow]) -> list[store.versions.VersionRow]:
    """Versions that devices run, as they last said."""
    census = {
        model: store.devices.census(session, model) for model in {version.model for version in versions}
    }
    return [version for version in versions if census[version.model].get(version.label)]


def _offered(
    session: Session, versions: Sequence[store.versions.VersionRow]
) -> list[store.versions.VersionRow]:
    """What rollouts give out or may yet, the newest that was released to all, and the newest of all."""
    planned, released = (
        set(store.rollouts.given_out(session, states)) for states in (PLANNED, ("completed",))
    )
    newest: dict[tuple[str, bool], store.versions.VersionRow] = {}
    for version in versions:
        if version.state == "ready":
            # They come with rising counters.
            newest[version.model, False] = version
            if version.id in released:
                newest[version.model, True] = version
    kept = planned | {version.id for version in newest.values()}
    return [version for version in versions if version.id in kept]


def _blobs(versions: Iterable[store.versions.VersionRow]) -> set[str]:
    return {file.sha256 for version in versions for file in patches.files_of(version)}


def view(entry: Entry) -> dict[str, Any]:
    """An entry as people are shown it."""
    fields = ("component", "variant", "bases", "devices", "asked", "full_size", "patch_size", "estimated")
    pair = {"source_sha256": entry.pair.source, "target_sha256": entry.pair.target}
    told = {"saved": entry.saved, "state": entry.state, "why": entry.why}
    return {**pair, **{name: getattr(entry, name) for name in fields}, **told}
