"""Models, versions, rollouts and patches as polls see them: immutable values, shared by all polls of a snapshot."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from service.domain.rollouts.policy import DEFAULT_POLICY, Policy
from service.domain.targeting.rules import Predicate


@dataclass(frozen=True, slots=True)
class Component:
    """One file of a variant.

    Attributes:
        name: name of the component, such as `backbone`.
        path: path of the file on the device.
        sha256: SHA-256 of the file, hex.
        size: bytes of the file.
    """

    name: str
    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Variant:
    """One build of a version for some devices.

    Attributes:
        name: name of the variant.
        priority: of the matching variants, the one of highest priority is chosen.
        matches: whether the variant is for a device.
        components: files of the variant.
        selector: the rule behind `matches`, to show to people.
    """

    name: str
    priority: int
    matches: Predicate
    components: tuple[Component, ...]
    selector: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Version:
    """A version that devices may run or be offered.

    Attributes:
        id: primary key.
        label: name of the version, such as `v1.3`.
        counter: the number that rollback protection compares; rises with every version.
        floor: the lowest counter that a device may go to from this version.
        revoked: devices must not stay on it.
        variants: builds, highest priority first.
        manifest: signed envelope of the manifest.
        manifest_sha256: SHA-256 of the manifest, hex.
        ready_at: when the version became ready.
        barrier: devices below must run this version before anything newer.
    """

    id: int
    label: str
    counter: int
    floor: int
    revoked: bool
    variants: tuple[Variant, ...]
    manifest: bytes
    manifest_sha256: str
    ready_at: datetime | None
    barrier: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a rollout: a percentage of a cohort.

    Attributes:
        cohort: name of the cohort.
        matches: whether a device is in the cohort.
        percent: percentage of the cohort's devices.
    """

    cohort: str
    matches: Predicate
    percent: float


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout of a version.

    Attributes:
        id: primary key.
        name: name of the rollout.
        state: state of its life cycle.
        version: the version that it rolls out.
        salt: salt of its buckets.
        stage: index of the last open stage; all stages are open once it is completed.
        stages: stages in the order in which they open.
        policy: when, how fast and how it rolls out.
        on_breach: `halt` or `rollback`.
        paused_classes: device classes that get no offers.
        device_classes: device classes that are counted separately; see `device_classes.effective_class`.
        activated: with activation `deferred`, devices may activate now.
    """

    id: UUID
    name: str
    state: str
    version: Version
    salt: str
    stage: int
    stages: tuple[Stage, ...]
    policy: Policy = DEFAULT_POLICY
    on_breach: str = "halt"
    paused_classes: frozenset[str] = frozenset()
    device_classes: frozenset[str] = frozenset()
    activated: bool = False


@dataclass(frozen=True, slots=True)
class Patch:
    """A patch from one blob to another.

    Attributes:
        format: patch format, such as `glp1`.
        source_sha256: SHA-256 of the file that the device has.
        target_sha256: SHA-256 of the file that the patch makes.
        created_at: when the patch was requested.
        sha256: SHA-256 of the patch; None while it is being built.
        size: bytes of the patch.
        working_set: bytes of memory that applying it takes.
        descriptor: signed envelope of the patch descriptor.
    """

    format: str
    source_sha256: str
    target_sha256: str
    created_at: datetime
    sha256: str | None = None
    size: int = 0
    working_set: int = 0
    descriptor: bytes = b""


@dataclass(frozen=True, slots=True)
class ModelView:
    """One AI model with its versions, rollouts and patches.

    Attributes:
        name: name of the model.
        disabled: no device gets anything.
        versions: label -> version.
        rollouts: in the order of evaluation: highest priority, then newest version, then newest rollout.
        patches: (source SHA-256, target SHA-256) -> patches, best first.
        not_worth_building: pairs of source and target for which no patch will be built.
        blobs: SHA-256 of all files of all versions.
        metrics: names of the metrics that its devices report beyond the standard ones.
    """

    name: str
    disabled: bool
    versions: Mapping[str, Version]
    rollouts: tuple[Rollout, ...]
    patches: Mapping[tuple[str, str], tuple[Patch, ...]] = field(default_factory=dict)
    not_worth_building: frozenset[tuple[str, str]] = frozenset()
    blobs: frozenset[str] = frozenset()
    metrics: frozenset[str] = frozenset()
    _barriers: tuple[Version, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Sort the barriers once, since every poll needs them."""
        barriers = [version for version in self.versions.values() if version.barrier and not version.revoked]
        object.__setattr__(self, "_barriers", tuple(sorted(barriers, key=lambda version: version.counter)))

    def barrier_above(self, current: Version | None) -> Version | None:
        """Return the next barrier for a device that runs `current`; an unknown version is below all barriers."""
        counter = current.counter if current is not None else 0
        return next((version for version in self._barriers if version.counter > counter), None)

    def newest_released(self) -> Version | None:
        """Return the newest version whose rollout was completed and that is not revoked."""
        released = [
            rollout.version
            for rollout in self.rollouts
            if rollout.state == "completed" and not rollout.version.revoked
        ]
        return max(released, key=lambda version: version.counter, default=None)
