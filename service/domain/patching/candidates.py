"""Values that patches are planned from: files, versions, pairs of files, and what is known about each pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

PlanReason = Literal[
    "built",
    "building",
    "not_worth_it",
    "failed",
    "requested",
    "many_devices",
    "few_devices",
    "no_devices",
    "limit_reached",
]
"""Why a patch is or is not built.

`built`, `building`, `not_worth_it` and `failed` are what came of earlier builds. The patch is to be built now because
polls `requested` it, or because `many_devices` have the source. It is not built because `few_devices` or `no_devices`
have the source, or because other patches save more (`limit_reached`).
"""


@dataclass(frozen=True, slots=True)
class ComponentFile:
    """A component's file and the variant that it belongs to.

    Attributes:
        name: name of the component.
        sha256: SHA-256 of the file, hex.
        size: bytes of the file.
        variant: name of the variant.
    """

    name: str
    sha256: str
    size: int
    variant: str = "default"


@dataclass(frozen=True, slots=True, eq=False)
class SourceVersion:
    """A version that devices may run.

    Attributes:
        label: label of the version.
        files: all components of all its variants.
        devices: number of devices that run it.
    """

    label: str
    files: Sequence[ComponentFile]
    devices: int


@dataclass(frozen=True, slots=True)
class PatchPair:
    """The source and the target of a patch, as SHA-256."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class BuildState:
    """What came of building a pair.

    Attributes:
        state: state of the patch.
        size: bytes of the patch, if it was built.
    """

    state: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class PatchDemand:
    """What is known about the pairs that lead to one version.

    Attributes:
        build_states: pair -> what came of building it.
        requests: pair -> number of polls that lacked it.
    """

    build_states: Mapping[PatchPair, BuildState] = field(default_factory=dict)
    requests: Mapping[PatchPair, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PatchCandidate:
    """A patch that could be built, and what it would save.

    Attributes:
        pair: source and target.
        component: component of the target.
        variant: variant of the target.
        full_size: bytes of the target.
        patch_size: bytes of the patch; an estimate until it is built.
        source_versions: labels of the versions that have the source.
        devices: number of devices that run one of them.
        requests: number of polls that lacked the patch.
        estimated: `patch_size` is an estimate.
        state: state of the patch; None if it was never requested.
        reason: why it is or is not built.
    """

    pair: PatchPair
    component: str
    variant: str
    full_size: int
    patch_size: int
    source_versions: tuple[str, ...] = ()
    devices: int = 0
    requests: int = 0
    estimated: bool = True
    state: str | None = None
    reason: PlanReason = "no_devices"

    @property
    def saved_bytes(self) -> int:
        """Bytes that the fleet does not download; each poll that lacked the patch counts as a device."""
        return max(self.devices, self.requests) * max(0, self.full_size - self.patch_size)

    @property
    def build_now(self) -> bool:
        """Whether the patch is to be requested now."""
        return self.reason in ("requested", "many_devices")
