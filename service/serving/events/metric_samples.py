"""Which rollout, stage and arm a device's metrics count for; pure functions over the snapshot."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sdk_contract.wire import Event
from service.domain.catalog import ModelView, Rollout
from service.domain.gates import metrics
from service.domain.polling.arms import Assignment, arm_of, assign
from service.domain.targeting.device_classes import device_class_of, effective_class
from service.serving.events.attempt_ids import parse_attempt_id
from service.serving.snapshots.snapshot import Snapshot
from service.store.distribution.metrics import SELECTION_PROBABILITY

COMPARED_STATES = frozenset({"running", "paused"})
"""States in which devices without an attempt count; devices with an attempt count in every state."""


@dataclass(frozen=True, slots=True)
class ReportingDevice:
    """A device that reported metrics.

    Attributes:
        current_versions: model -> label of the version that it last reported.
        attempts: attempt id -> its rollout, model, version, stage and device class.
    """

    id: str
    attributes: Mapping[str, Any]
    current_versions: Mapping[str, str | None]
    attempts: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class MetricSample:
    """One value of one metric, and what it counts for.

    Attributes:
        bucket: histogram bucket of the value; for the sample ratio, the step of the selection probability.
    """

    rollout_id: UUID
    metric: str
    stage: int
    device_class: str
    arm: str
    bucket: int


def model_of_event(snapshot: Snapshot, event: Event, device: ReportingDevice) -> ModelView | None:
    """The model that an event is about: that of its attempt, the one it names, or the only one."""
    attempt = device.attempts.get(_attempt_key(event))
    name = attempt["model"] if attempt else event.model
    if name is None and len(snapshot.models) == 1:
        return next(iter(snapshot.models.values()))
    return snapshot.models.get(name or "")


def samples_of_event(
    model: ModelView,
    device: ReportingDevice,
    attributes: Mapping[str, Any],
    event: Event,
    values: Mapping[str, int],
) -> Iterator[MetricSample]:
    """The samples of an event, for every rollout of the model that compares metrics.

    Args:
        model: the model that the event is about.
        device: the device that sent it.
        attributes: of the device; those that an operator set override its own.
        event: the event.
        values: metric name -> histogram bucket.
    """
    own_attempt = _own_attempt(model, device, event)
    current_version = event.version or (
        _version_label(model, own_attempt["version"])
        if own_attempt
        else device.current_versions.get(model.name)
    )
    for rollout in model.rollouts:
        if own_attempt is not None and str(rollout.id) == own_attempt["rollout"]:
            place: tuple[int, str, str] | None = (
                own_attempt["stage"],
                own_attempt["device_class"],
                "treatment",
            )
            assignment = None
        elif rollout.state in COMPARED_STATES:
            assignment = assign(rollout, device.id, attributes)
            place = (
                _counting_place(model, rollout, assignment, attributes, current_version)
                if assignment
                else None
            )
        else:
            continue
        if place is not None:
            for name, bucket in values.items():
                yield MetricSample(rollout.id, name, *place, bucket)
        yield from _sample_ratio(rollout, device, attributes, event, assignment)


def _version_label(model: ModelView, version_id: int) -> str | None:
    return next((version.label for version in model.versions.values() if version.id == version_id), None)


def _own_attempt(model: ModelView, device: ReportingDevice, event: Event) -> Mapping[str, Any] | None:
    """The attempt that the event names, if it belongs to the device and the event is about its version."""
    attempt = device.attempts.get(_attempt_key(event))
    if attempt is None or event.version is None:
        return attempt
    version = model.versions.get(event.version)
    return attempt if version is not None and version.id == attempt["version"] else None


def _counting_place(
    model: ModelView,
    rollout: Rollout,
    assignment: Assignment,
    attributes: Mapping[str, Any],
    current_version: str | None,
) -> tuple[int, str, str] | None:
    """Stage, device class and arm of a device that has no attempt of this rollout; None if it does not count."""
    current = model.versions.get(current_version or "")
    if current_version is None or (current is not None and current.counter > rollout.version.counter):
        return None
    arm = arm_of(rollout, assignment, current_version)
    return (
        (assignment.stage, effective_class(device_class_of(attributes), rollout.device_classes), arm)
        if arm
        else None
    )


def _sample_ratio(
    rollout: Rollout,
    device: ReportingDevice,
    attributes: Mapping[str, Any],
    event: Event,
    assignment: Assignment | None,
) -> Iterator[MetricSample]:
    """A sample of the device itself, for the check of the sample ratio.

    Events at the end of an attempt do not count: only devices that update send them, devices in control do not.
    """
    if event.state != "metrics" or rollout.state not in COMPARED_STATES:
        return
    assignment = assignment or assign(rollout, device.id, attributes)
    if assignment is not None and 0 < assignment.admission_probability < 1:
        probability_step = round(assignment.admission_probability * metrics.ADMISSION_STEPS)
        yield MetricSample(
            rollout.id,
            SELECTION_PROBABILITY,
            assignment.stage,
            "",
            "in" if assignment.admitted else "out",
            probability_step,
        )


def _attempt_key(event: Event) -> str:
    """The attempt id in the spelling of the database; empty if it is invalid."""
    attempt_id = parse_attempt_id(event.attempt_id)
    return str(attempt_id) if attempt_id else ""
