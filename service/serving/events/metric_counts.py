"""Counts metrics for the rollouts that compare them, in the transaction that stores the events.

Only the first value of each device, metric, arm and rollout counts, because values of one device resemble each other and
a device that floods must not decide a gate. A batch with metrics takes three statements or fewer, a batch without none.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from sdk_contract.wire import Event
from service.domain.catalog import ModelView
from service.domain.gates import metrics
from service.operations.outcomes.metrics import INSERT_NAMES, INSERT_SAMPLES
from service.serving.events.attempt_ids import parse_attempt_id
from service.serving.events.metric_samples import (
    MetricSample,
    ReportingDevice,
    model_of_event,
    samples_of_event,
)
from service.serving.snapshots.cache import SnapshotCache
from service.store.distribution.metrics import SELECTION_PROBABILITY


@dataclass(frozen=True, slots=True)
class MetricsEvent:
    """An event with metrics, the device that sent it, and the day."""

    device_id: str
    event: Event
    day: date


_SELECT_DEVICES = text(
    """
    select d.id, d.attributes,
      (select coalesce(jsonb_object_agg(i.model, i.version), '{}') from installations i where i.device_id = d.id) as current_versions,
      (select coalesce(jsonb_object_agg(a.id, jsonb_build_object(
         'rollout', a.rollout_id, 'model', a.model, 'version', a.version_id, 'stage', a.stage, 'device_class', a.device_class
       )), '{}') from attempts a
       where a.id = any(cast(:attempts as uuid[])) and a.device_id = d.id and a.arm = 'treatment') as attempts
    from devices d where d.id = any(cast(:devices as text[]))
    """
)


@dataclass(slots=True)
class MetricCounter:
    """Counts metrics; reads cohorts from the snapshot, because SQL cannot evaluate their rules.

    Attributes:
        snapshots: the snapshot that polls are decided from.
        registered: model -> metric names that this process has inserted since it started.
    """

    snapshots: SnapshotCache
    registered: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    async def count(self, connection: AsyncConnection, batch: Sequence[MetricsEvent]) -> set[UUID]:
        """Count the values that are new; return the rollouts that have new samples."""
        snapshot = self.snapshots.current
        devices = await _devices(connection, batch) if batch else {}
        unique: dict[tuple[UUID, int], tuple[MetricSample, date]] = {}
        names: set[tuple[str, str]] = set()
        for item in batch:
            device = devices.get(item.device_id)
            model = model_of_event(snapshot, item.event, device) if device else None
            if device is None or model is None:
                continue
            values = self._buckets(model, item.event, names)
            attributes = {**device.attributes, **snapshot.overrides.get(device.id, {})}
            for sample in samples_of_event(model, device, attributes, item.event, values):
                unique.setdefault((sample.rollout_id, _sample_hash(device.id, sample)), (sample, item.day))
        if names:
            ordered = sorted(names)
            parameters = {"models": [model for model, _ in ordered], "names": [name for _, name in ordered]}
            await connection.execute(INSERT_NAMES, parameters)
        return await _write(connection, unique)

    def _buckets(self, model: ModelView, event: Event, names: set[tuple[str, str]]) -> dict[str, int]:
        """Metric name -> histogram bucket; a name that is new for the model is added to `names`."""
        buckets = {}
        for name, value in event.metrics.items():
            known = (
                name in metrics.STANDARD_METRICS
                or name in model.metrics
                or name in self.registered[model.name]
            )
            if not known and len(model.metrics | self.registered[model.name]) < metrics.MAX_CUSTOM_METRICS:
                self.registered[model.name].add(name)
                names.add((model.name, name))
                known = True
            bucket = metrics.histogram_bucket(value)
            if known and bucket is not None:
                buckets[name] = bucket
        return buckets


async def _devices(connection: AsyncConnection, batch: Sequence[MetricsEvent]) -> dict[str, ReportingDevice]:
    attempts = {
        attempt_id for item in batch if (attempt_id := parse_attempt_id(item.event.attempt_id)) is not None
    }
    values = {"devices": list({item.device_id for item in batch}), "attempts": list(attempts)}
    rows = await connection.execute(_SELECT_DEVICES, values)
    return {
        row.id: ReportingDevice(row.id, row.attributes, row.current_versions, row.attempts) for row in rows
    }


def _sample_hash(device_id: str, sample: MetricSample) -> int:
    """64 bits of a digest, by which a sample is recognized. The sample ratio counts a device once, whatever its arm."""
    arm = "" if sample.metric == SELECTION_PROBABILITY else sample.arm
    digest = hashlib.sha256(f"{device_id}\0{sample.metric}\0{arm}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


async def _write(
    connection: AsyncConnection, unique: Mapping[tuple[UUID, int], tuple[MetricSample, date]]
) -> set[UUID]:
    if not unique:
        return set()
    ordered = sorted(unique.items(), key=lambda item: (str(item[0][0]), item[0][1]))
    columns = {
        "rollouts": [rollout_id for (rollout_id, _), _ in ordered],
        "digests": [digest for (_, digest), _ in ordered],
        "metrics": [sample.metric for _, (sample, _) in ordered],
        "stages": [sample.stage for _, (sample, _) in ordered],
        "device_classes": [sample.device_class for _, (sample, _) in ordered],
        "arms": [sample.arm for _, (sample, _) in ordered],
        "days": [day for _, (_, day) in ordered],
        "buckets": [sample.bucket for _, (sample, _) in ordered],
        "selection_probability": SELECTION_PROBABILITY,
    }
    return set((await connection.execute(INSERT_SAMPLES, columns)).scalars())
