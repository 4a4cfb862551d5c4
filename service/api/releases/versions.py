"""Models, versions, uploads and patches: what CI and release managers call."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path

from sdk_contract.documents import Label, Name
from service.api.dependencies import (
    Blobs,
    Config,
    JobBell,
    Now,
    Publisher,
    ReadOnly,
    ReleaseManager,
    Transaction,
    Viewer,
    envelope_of,
)
from service.api.middleware.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.api.schemas.base import (
    ActBody,
    ManifestBody,
    ModelBody,
    ModelView,
    PartsBody,
    PartUrls,
    PatchView,
    UploadBody,
    UploadView,
    VersionBody,
    VersionView,
)
from service.errors import Invalid
from service.operations.patching import patches
from service.operations.releases import declarations, manifests, models, uploads, versions
from service.operations.releases.views import version_view
from service.operations.rollouts import actions

router = APIRouter(prefix="/v1/admin", tags=["versions"], responses=RESPONSES, route_class=IdempotentRoute)

ModelName = Annotated[Name, Path(description="Name of the model.")]
VersionLabel = Annotated[Label, Path(description="Label of the version.")]


@router.get("/models", summary="All models")
def list_models(session: ReadOnly, _caller: Viewer) -> list[ModelView]:
    """By name."""
    return [ModelView.model_validate(row) for row in models.list_all(session)]


@router.put("/models/{model}", summary="Make a model")
def put_model(
    model: ModelName, body: ModelBody, session: Transaction, caller: Publisher, now: Now
) -> ModelView:
    """Saying it again changes nothing."""
    row = models.create(session, model, actor=caller.name, now=now, description=body.description)
    return ModelView.model_validate(row)


@router.post("/models/{model}/disable", summary="Throw the kill switch of a model")
def kill_model(
    model: ModelName, body: ActBody, session: Transaction, caller: ReleaseManager, now: Now
) -> ModelView:
    """From then on, within two seconds everywhere, every poll is told to hold; rollouts keep their state."""
    row = models.set_disabled(session, model, disabled=True, actor=caller.name, reason=body.reason, now=now)
    return ModelView.model_validate(row)


@router.post("/models/{model}/enable", summary="Put the kill switch back")
def revive_model(
    model: ModelName, body: ActBody, session: Transaction, caller: ReleaseManager, now: Now
) -> ModelView:
    """Rollouts go on where they are."""
    row = models.set_disabled(session, model, disabled=False, actor=caller.name, reason=body.reason, now=now)
    return ModelView.model_validate(row)


@router.get("/models/{model}/versions", summary="Versions of a model")
def list_versions(model: ModelName, session: ReadOnly, _caller: Viewer) -> list[VersionView]:
    """The newest 100, newest first."""
    return [
        VersionView.model_validate(version_view(session, row))
        for row in versions.list_for_model(session, model)
    ]


@router.post("/models/{model}/versions", status_code=201, summary="Announce a version")
def declare_version(
    model: ModelName, body: VersionBody, session: Transaction, caller: Publisher, settings: Config, now: Now
) -> VersionView:
    """Every file with its size and digest, before any of them is uploaded; saying the same again changes nothing."""
    _require_size(body, settings.max_component_bytes)
    declaration = declarations.VersionDeclaration(
        label=body.label,
        counter=body.counter,
        floor=body.floor,
        notes=body.notes,
        signed_by_publisher=body.signed_by_publisher,
        barrier=body.barrier,
        variants=[
            declarations.VariantDeclaration(
                name=variant.name,
                selector=variant.selector,
                priority=variant.priority,
                components=[
                    declarations.ComponentDeclaration(file.name, file.path, file.size, file.sha256)
                    for file in variant.components
                ],
            )
            for variant in body.variants
        ],
    )
    models.create(session, model, actor=caller.name, now=now)
    row = declarations.declare(session, model, declaration, actor=caller.name, now=now)
    return VersionView.model_validate(version_view(session, row))


@router.get("/models/{model}/versions/{label}", summary="One version")
def get_version(model: ModelName, label: VersionLabel, session: ReadOnly, _caller: Viewer) -> VersionView:
    """Where it stands, what is inside its files, and why it was rejected, if so."""
    return VersionView.model_validate(version_view(session, versions.require(session, model, label)))


@router.get("/models/{model}/versions/{label}/manifest", summary="The signed manifest")
def get_manifest(
    model: ModelName, label: VersionLabel, session: ReadOnly, _caller: Viewer
) -> dict[str, object]:
    """The publisher's envelope, for example to ship a version inside an app."""
    return versions.signed_manifest(session, model, label)


@router.post(
    "/models/{model}/versions/{label}/manifest", status_code=202, summary="Hand in a signed manifest"
)
def hand_in_manifest(
    model: ModelName,
    label: VersionLabel,
    body: ManifestBody,
    session: Transaction,
    notifier: JobBell,
    caller: Publisher,
    now: Now,
) -> VersionView:
    """For a version declared as `signed_by_publisher`, once it `awaits_manifest`."""
    envelope = envelope_of(body.envelope)
    row = manifests.submit(session, notifier, model, label, envelope, actor=caller.name, now=now)
    return VersionView.model_validate(version_view(session, row))


@router.post("/models/{model}/versions/{label}/submit", summary="All bytes are here")
def submit_version(
    model: ModelName, label: VersionLabel, session: Transaction, notifier: JobBell, caller: Publisher, now: Now
) -> VersionView:
    """A worker re-hashes and inspects the files; then the version becomes ready, or rejected with a reason."""
    row = versions.submit(session, notifier, model, label, actor=caller.name, now=now)
    return VersionView.model_validate(version_view(session, row))


@router.post("/models/{model}/versions/{label}/revoke", summary="Recall a version")
def revoke_version(
    model: ModelName,
    label: VersionLabel,
    body: ActBody,
    session: Transaction,
    notifier: JobBell,
    caller: ReleaseManager,
    now: Now,
) -> VersionView:
    """Its rollouts end; devices that run it are ordered, signed, to the newest good version. Not undone: say why."""
    row = actions.revoke_version(session, notifier, model, label, actor=caller.name, reason=body.reason, now=now)
    return VersionView.model_validate(version_view(session, row))


@router.post("/uploads", summary="Begin or resume an upload")
def start_upload(
    body: UploadBody, session: Transaction, blobs: Blobs, settings: Config, _caller: Publisher
) -> UploadView:
    """Tells which parts are still missing; nothing to do if the bytes are known already."""
    upload, arrived = uploads.start(session, blobs, body.sha256, part_bytes=settings.upload_part_bytes)
    if upload is None:
        return UploadView(stored=True)
    size = uploads.size_of(session, upload)
    expected = uploads.expected_parts(size, upload.part_bytes)
    right = {part.number for part in arrived if expected.get(part.number) == part.size}
    return UploadView(
        stored=False,
        upload_id=upload.id,
        size=size,
        part_bytes=upload.part_bytes,
        part_count=len(expected),
        parts=[number for number in expected if number not in right],
    )


@router.post("/uploads/{upload_id}/parts", summary="Where to PUT parts")
def part_urls(
    upload_id: UUID, body: PartsBody, session: ReadOnly, blobs: Blobs, settings: Config, _caller: Publisher
) -> PartUrls:
    """Presigned URLs straight to the object store; send each part with PUT and no further header."""
    urls = uploads.presign_parts(session, blobs, upload_id, body.numbers, expires_s=settings.download_url_ttl_s)
    return PartUrls(urls=urls)


@router.post("/uploads/{upload_id}/complete", status_code=204, summary="All parts are there")
def complete_upload(upload_id: UUID, session: Transaction, blobs: Blobs, _caller: Publisher) -> None:
    """Joins the parts; the bytes are believed once a worker has hashed them."""
    uploads.complete(session, blobs, upload_id)


@router.get("/models/{model}/versions/{label}/patches", summary="Patches to a version")
def list_patches(
    model: ModelName, label: VersionLabel, session: ReadOnly, _caller: Viewer
) -> Sequence[PatchView]:
    """Built, being built, and given up, with what they cost."""
    version = versions.require(session, model, label)
    return [PatchView.model_validate(row) for row in patches.list_for_version(session, version)]


def _require_size(body: VersionBody, limit: int) -> None:
    for index, variant in enumerate(body.variants):
        for number, file in enumerate(variant.components):
            if file.size > limit:
                place = f"variants.{index}.components.{number}.size"
                raise Invalid(f"{file.size} bytes; this server takes at most {limit}", field=place)
