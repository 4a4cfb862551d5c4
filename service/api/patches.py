"""The plan of patches."""

from typing import Annotated

from fastapi import APIRouter, Path

from sdk_contract.documents import Label, Name
from service.api.dependencies import Config, Now, ReadOnly, Viewer
from service.api.problems import RESPONSES
from service.api.schemas import View
from service.operations import patch_plan, versions

router = APIRouter(prefix="/v1/admin", tags=["versions"], responses=RESPONSES)


class PlannedPatchView(View):
    """A pair of files, and what its patch is worth.

    Attributes:
        component, variant: of the target.
        bases: versions that have the source.
        devices: that run one of them.
        asked: how often polls of the last day have missed it.
        patch_size: `estimated` until it is made.
        saved: bytes that the fleet does not download.
        state: of the patch; null where there is none.
        why: `made`, `being_made`, `not_worth_it`, `failed`; `census`, `asked`: to be made now; `nobody` runs a base; `few`
            run one, so that it is made when a poll misses it; `limit`: others save more.
    """

    source_sha256: str
    target_sha256: str
    component: str
    variant: str
    bases: list[str]
    devices: int
    asked: int
    full_size: int
    patch_size: int
    estimated: bool
    saved: int
    state: str | None
    why: str


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
    entries = patch_plan.entries(session, version, limit=settings.patch_limit, now=now)
    return [PlannedPatchView.model_validate(patch_plan.view(entry)) for entry in entries]
