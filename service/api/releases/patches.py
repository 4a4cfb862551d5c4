"""Routes of patches and of the patch plan."""

from collections.abc import Sequence

from fastapi import APIRouter

from service.api.dependencies import Config, Now, ReadOnly, Viewer
from service.api.problems import RESPONSES
from service.api.releases.path_parameters import ModelName, VersionLabel
from service.api.schemas.base import PatchView, View
from service.operations.patching import patches, planning
from service.operations.releases import versions

router = APIRouter(prefix="/v1/admin", tags=["versions"], responses=RESPONSES)


class PlannedPatchView(View):
    """A pair of files, and the benefit of a patch between them.

    Attributes:
        component: component of the target.
        variant: variant of the target.
        source_versions: labels of the versions that contain the source.
        devices: number of devices that run one of these versions.
        requests: number of polls of the last day that would have used the patch.
        full_size: size of the target in bytes.
        patch_size: size of the patch in bytes; if `estimated`, it is not built yet.
        saved_bytes: bytes that the fleet saves.
        state: state of the patch; null if there is none.
        reason: `built`, `building`, `not_worth_it` or `failed`; `many_devices` and `requested` patches will be built
            next; with `few_devices` and `no_devices`, too few devices have the source; with `limit_reached`, other
            patches save more.
    """

    source_sha256: str
    target_sha256: str
    component: str
    variant: str
    source_versions: list[str]
    devices: int
    requests: int
    full_size: int
    patch_size: int
    estimated: bool
    saved_bytes: int
    state: str | None
    reason: str


@router.get("/models/{model}/versions/{label}/patches/plan", summary="Get the patch plan of a version")
def plan_patches(
    model: ModelName,
    label: VersionLabel,
    session: ReadOnly,
    settings: Config,
    _caller: Viewer,
    now: Now,
) -> list[PlannedPatchView]:
    """Return every possible patch to the version, the most valuable first, and why it is built or not."""
    version = versions.require(session, model, label)
    entries = planning.rank_for_version(session, version, limit=settings.max_patches_per_version, now=now)
    return [PlannedPatchView.model_validate(planning.view(entry)) for entry in entries]


@router.get("/models/{model}/versions/{label}/patches", summary="List the patches to a version")
def list_patches(
    model: ModelName, label: VersionLabel, session: ReadOnly, _caller: Viewer
) -> Sequence[PatchView]:
    """Return the built patches, those being built, and those that failed."""
    version = versions.require(session, model, label)
    return [PatchView.model_validate(row) for row in patches.list_for_version(session, version)]
