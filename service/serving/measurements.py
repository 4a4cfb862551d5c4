"""What devices measure, counted for the rollouts in which it is compared, in the transaction of the reports.

One value per device, metric, arm and rollout, the first: values of one device resemble each other, and a
device that floods must not decide a gate. Two statements per batch that holds measurements, none otherwise.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from sdk_contract.wire import Event
from service.domain import measures
from service.domain.arms import Standing, arm, standing
from service.domain.catalogue import Line, Rollout
from service.domain.strata import settled, stratum_of
from service.serving.snapshot import Snapshot, SnapshotKeeper
from service.store.gates import SHARES

COMPARING = frozenset({"running", "paused"})
"""States in which devices without an attempt are counted; those with one are, whatever the state."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One event with measurements, and who sent it on which day."""

    device_id: str
    event: Event
    day: date


@dataclass(frozen=True, slots=True)
class _Device:
    """What is known of a device between its polls."""

    id: str
    attributes: Mapping[str, Any]
    runs: Mapping[str, str | None]
    attempts: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class _Sample:
    """A value in its place."""

    rollout_id: UUID
    metric: str
    stage: int
    stratum: str
    arm: str
    bucket: int


_WHO = text(
    """
    select d.id, d.attributes,
      (select coalesce(jsonb_object_agg(i.model, i.version), '{}') from installations i where i.device_id = d.id) as runs,
      (select coalesce(jsonb_object_agg(a.id, jsonb_build_object(
         'rollout', a.rollout_id, 'model', a.model, 'version', a.version_id, 'stage', a.stage, 'stratum', a.stratum
       )), '{}') from attempts a
       where a.id = any(cast(:attempts as uuid[])) and a.device_id = d.id and a.arm = 'treated') as attempts
    from devices d where d.id = any(cast(:devices as text[]))
    """
)

_NAME = text(
    """
    insert into metric_names (model, name)
    select * from unnest(cast(:models as text[]), cast(:names as text[])) as news(model, name) order by 1, 2
    on conflict do nothing
    """
)

_COUNT = text(
    """
    with news as (
      select * from unnest(
        cast(:rollouts as uuid[]), cast(:marks as bigint[]), cast(:metrics as text[]), cast(:stages as int[]),
        cast(:strata as text[]), cast(:arms as text[]), cast(:days as date[]), cast(:buckets as int[])
      ) as news(rollout_id, mark, metric, stage, stratum, arm, day, bucket)
    ), fresh as (
      insert into metric_marks (rollout_id, mark) select rollout_id, mark from news order by 1, 2
      on conflict do nothing returning rollout_id, mark
    ), counted as (
      insert into metric_rollups (rollout_id, metric, stage, stratum, arm, day, bucket, count)
      select rollout_id, metric, stage, stratum, arm, day, bucket, count(*)
      from news join fresh using (rollout_id, mark) group by 1, 2, 3, 4, 5, 6, 7 order by 1, 2, 3, 4, 5, 6, 7
      on conflict (rollout_id, metric, stage, stratum, arm, day, bucket)
      do update set count = metric_rollups.count + excluded.count
    ), summed as (
      insert into metric_totals (rollout_id, metric, stage, stratum, arm, count, first, second)
      select rollout_id, metric, stage, stratum, arm, count(*), sum(bucket), sum(bucket * bucket)
      from news join fresh using (rollout_id, mark) where metric <> :shares
      group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5
      on conflict (rollout_id, metric, stage, stratum, arm) do update set
        count = metric_totals.count + excluded.count,
        first = metric_totals.first + excluded.first,
        second = metric_totals.second + excluded.second
    )
    select distinct rollout_id from fresh
    """
)


@dataclass(slots=True)
class Measurements:
    """Counts measurements; knows the snapshot, since cohorts are not asked for in SQL.

    Attributes:
        named: names that this process has written down since its snapshot was made.
    """

    snapshots: SnapshotKeeper
    named: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    async def count(self, connection: AsyncConnection, batch: Sequence[Measured]) -> set[UUID]:
        """Count what is new; return the rollouts about which there is more to know now."""
        snapshot = self.snapshots.current
        devices = await _devices(connection, batch) if batch else {}
        unique: dict[tuple[UUID, int], tuple[_Sample, date]] = {}
        names: set[tuple[str, str]] = set()
        for one in batch:
            device = devices.get(one.device_id)
            line = _line(snapshot, one.event, device) if device else None
            if device is None or line is None:
                continue
            values = self._recognised(line, one.event, names)
            attributes = {**device.attributes, **snapshot.overrides.get(device.id, {})}
            for sample in _samples(line, device, attributes, one.event, values):
                unique.setdefault((sample.rollout_id, _mark(device.id, sample)), (sample, one.day))
        if names:
            ordered = sorted(names)
            values_ = {"models": [model for model, _ in ordered], "names": [name for _, name in ordered]}
            await connection.execute(_NAME, values_)
        return await _write(connection, unique)

    def _recognised(self, line: Line, event: Event, names: set[tuple[str, str]]) -> dict[str, int]:
        """Bucket of each value that can be counted; a name that is new for the model is noted in `names`."""
        found = {}
        for name, value in event.metrics.items():
            known = name in measures.KNOWN or name in line.metrics or name in self.named[line.name]
            if not known and len(line.metrics | self.named[line.name]) < measures.MAX_NAMES:
                self.named[line.name].add(name)
                names.add((line.name, name))
                known = True
            bucket = measures.bucket(value)
            if known and bucket is not None:
                found[name] = bucket
        return found


async def _devices(connection: AsyncConnection, batch: Sequence[Measured]) -> dict[str, _Device]:
    attempts = {found for one in batch if (found := _uuid(one.event.attempt_id)) is not None}
    values = {"devices": list({one.device_id for one in batch}), "attempts": list(attempts)}
    rows = await connection.execute(_WHO, values)
    return {row.id: _Device(row.id, row.attributes, row.runs, row.attempts) for row in rows}


def _line(snapshot: Snapshot, event: Event, device: _Device) -> Line | None:
    attempt = device.attempts.get(_key(event))
    name = attempt["model"] if attempt else event.model
    if name is None and len(snapshot.lines) == 1:
        return next(iter(snapshot.lines.values()))
    return snapshot.lines.get(name or "")


def _samples(
    line: Line, device: _Device, attributes: Mapping[str, Any], event: Event, values: Mapping[str, int]
) -> Iterator[_Sample]:
    own = _own_attempt(line, device, event)
    runs = event.version or (_label(line, own["version"]) if own else device.runs.get(line.name))
    for rollout in line.rollouts:
        if own is not None and str(rollout.id) == own["rollout"]:
            place: tuple[int, str, str] | None = own["stage"], own["stratum"], "treated"
            found = None
        elif rollout.state in COMPARING:
            found = standing(rollout, device.id, attributes)
            place = _place(line, rollout, found, attributes, runs) if found else None
        else:
            continue
        if place is not None:
            for name, bucket in values.items():
                yield _Sample(rollout.id, name, *place, bucket)
        yield from _share(rollout, device, attributes, event, found)


def _label(line: Line, version_id: int) -> str | None:
    return next((version.label for version in line.versions.values() if version.id == version_id), None)


def _own_attempt(line: Line, device: _Device, event: Event) -> Mapping[str, Any] | None:
    """The attempt that the event names, if it is the device's and the event is about its version."""
    attempt = device.attempts.get(_key(event))
    if attempt is None or event.version is None:
        return attempt
    version = line.versions.get(event.version)
    return attempt if version is not None and version.id == attempt["version"] else None


def _place(
    line: Line, rollout: Rollout, found: Standing, attributes: Mapping[str, Any], runs: str | None
) -> tuple[int, str, str] | None:
    """Stage, stratum and arm of a device without an attempt of this rollout."""
    current = line.versions.get(runs or "")
    if runs is None or (current is not None and current.counter > rollout.version.counter):
        return None
    side = arm(rollout, found, runs)
    return (found.stage, settled(stratum_of(attributes), rollout.strata), side) if side else None


def _share(
    rollout: Rollout, device: _Device, attributes: Mapping[str, Any], event: Event, found: Standing | None
) -> Iterator[_Sample]:
    """A device that measures, for the sample ratio check.

    Reports at the end of an attempt are left aside: a device that updates sends one, its like in control does not.
    """
    if event.state != "metrics" or rollout.state not in COMPARING:
        return
    found = found or standing(rollout, device.id, attributes)
    if found is not None and 0 < found.share < 1:
        steps = round(found.share * measures.SHARE_STEPS)
        yield _Sample(rollout.id, SHARES, found.stage, "", "in" if found.admitted else "out", steps)


def _mark(device_id: str, sample: _Sample) -> int:
    """64 bits of a digest. The sample ratio counts a device once, whatever has become of it since."""
    side = "" if sample.metric == SHARES else sample.arm
    digest = hashlib.sha256(f"{device_id}\0{sample.metric}\0{side}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


async def _write(
    connection: AsyncConnection, unique: Mapping[tuple[UUID, int], tuple[_Sample, date]]
) -> set[UUID]:
    if not unique:
        return set()
    ordered = sorted(unique.items(), key=lambda item: (str(item[0][0]), item[0][1]))
    columns = {
        "rollouts": [rollout_id for (rollout_id, _), _ in ordered],
        "marks": [mark for (_, mark), _ in ordered],
        "metrics": [sample.metric for _, (sample, _) in ordered],
        "stages": [sample.stage for _, (sample, _) in ordered],
        "strata": [sample.stratum for _, (sample, _) in ordered],
        "arms": [sample.arm for _, (sample, _) in ordered],
        "days": [day for _, (_, day) in ordered],
        "buckets": [sample.bucket for _, (sample, _) in ordered],
        "shares": SHARES,
    }
    return set((await connection.execute(_COUNT, columns)).scalars())


def _key(event: Event) -> str:
    """The attempt's id as the database spells it."""
    found = _uuid(event.attempt_id)
    return str(found) if found else ""


def _uuid(text_: str | None) -> UUID | None:
    try:
        return UUID(text_) if text_ else None
    except ValueError:
        return None
