"""The plan of patches."""

from typing import Annotated

from fastapi import APIRouter, Path

from sdk_contract.documents import Label, Name
from service.api.dependencies import Config, Now, ReadOnly, Viewer
from service.api.problems import RESPONSES
from service.api.schemas.base import View
from service.operations.patching import planning
from service.operations.releases import versions

router = APIRouter(prefix="/v1/admin", tags=["versions"], responses=RESPONSES)


class PlannedPatchView(View):
    """A pair of files, and what its patch is worth.

    Attributes:
        component, variant: of the target.
        source_versions: labels of the versions that have the source.
        devices: that run one of them.
        requests: number of polls of the last day that lacked the patch.
        patch_size: `estimated` until it is made.
        saved_bytes: bytes that the fleet does not download.
        state: of the patch; null where there is none.
        reason: `built`, `building`, `not_worth_it` or `failed`; `many_devices` and `requested` patches are to be built
            now; `few_devices` and `no_devices` have the source; with `limit_reached` other patches save more.
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


@router.get("/models/{model}/versions/{label}/patches/plan", summary="Which patches are worth it")
def plan_patches(
    model: Annotated[Name, Path(description="Name of the model.")],
    label: Annotated[Label, Path(description="Label of the version.")],
    session: ReadOnly,
    settings: Config,
    _caller: Viewer,
    now: Now,
) -> list[PlannedPatchView]:
    """Every pair that leads to the version, the most valuable first, and why it is made or is not."""
    version = versions.require(session, model, label)
    entries = planning.rank_for_version(session, version, limit=settings.max_patches_per_version, now=now)
    return [PlannedPatchView.model_validate(planning.view(entry)) for entry in entries]
