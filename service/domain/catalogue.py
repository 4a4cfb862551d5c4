"""What there is to be offered, as polls see it: immutable values, shared by all polls of a snapshot."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from service.domain.cohorts import Predicate
from service.domain.policy import ALWAYS, Policy


@dataclass(frozen=True, slots=True)
class Cohort:
    """A named part of the fleet.

    Attributes:
        rule: as written, to show; None for a mere list.
        matches: by rule or by list.
    """

    name: str
    rule: Any
    matches: Predicate


@dataclass(frozen=True, slots=True)
class Component:
    """One file of a variant."""

    name: str
    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Variant:
    """One build of a version, and the devices that it is for.

    Attributes:
        selector: the rule behind `matches`, to show.
    """

    name: str
    priority: int
    matches: Predicate
    components: tuple[Component, ...]
    selector: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Version:
    """A version that devices may run or be given.

    Attributes:
        variants: highest priority first.
        revoked: devices must not stay on it.
        watershed: devices below it have to come by it on their way to anything newer.
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
    watershed: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """A share of a cohort."""

    cohort: str
    matches: Predicate
    percent: float


@dataclass(frozen=True, slots=True)
class Rollout:
    """A version on its way; stages up to `stage` are open, all of them once completed.

    Attributes:
        held: strata that get nothing new.
        strata: the classes of device that are counted by themselves; see `strata.settled`.
        activated: with activation `together`, whether devices may switch now.
    """

    id: UUID
    name: str
    state: str
    version: Version
    salt: str
    stage: int
    stages: tuple[Stage, ...]
    policy: Policy = ALWAYS
    on_breach: str = "halt"
    held: frozenset[str] = frozenset()
    strata: frozenset[str] = frozenset()
    activated: bool = False


@dataclass(frozen=True, slots=True)
class Patch:
    """A way from one blob to another; `sha256` is None while it is being built."""

    format: str
    source_sha256: str
    target_sha256: str
    created_at: datetime
    sha256: str | None = None
    size: int = 0
    working_set: int = 0
    descriptor: bytes = b""


@dataclass(frozen=True, slots=True)
class Line:
    """One model: its versions, its rollouts in the order in which they are asked, its patches.

    Attributes:
        versions: label -> version.
        rollouts: highest priority first, then the newest version, then the newest rollout.
        patches: (source sha256, target sha256) -> ways, best first.
        hopeless: pairs of which there will be no patch.
        blobs: sha256 of all files of all versions.
        views: counter of a running version -> how the rollouts look from there; filled by `prospects` when asked.
        metrics: names of what its devices measure, beyond those that are known everywhere.
    """

    name: str
    killed: bool
    versions: Mapping[str, Version]
    rollouts: tuple[Rollout, ...]
    patches: Mapping[tuple[str, str], tuple[Patch, ...]] = field(default_factory=dict)
    hopeless: frozenset[tuple[str, str]] = frozenset()
    blobs: frozenset[str] = frozenset()
    metrics: frozenset[str] = frozenset()
    views: dict[int | None, object] = field(default_factory=dict, compare=False, repr=False)
    _watersheds: tuple[Version, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Find the watersheds once, since every poll asks for them."""
        found = [version for version in self.versions.values() if version.watershed and not version.revoked]
        object.__setattr__(self, "_watersheds", tuple(sorted(found, key=lambda version: version.counter)))

    def watershed_above(self, current: Version | None) -> Version | None:
        """The next version that a device has to come by; one that runs something unknown is below them all."""
        counter = current.counter if current is not None else 0
        return next((version for version in self._watersheds if version.counter > counter), None)

    def released(self) -> Version | None:
        """The newest version whose rollout has been completed, and that has not been revoked since."""
        done = [
            rollout.version
            for rollout in self.rollouts
            if rollout.state == "completed" and not rollout.version.revoked
        ]
        return max(done, key=lambda version: version.counter, default=None)
