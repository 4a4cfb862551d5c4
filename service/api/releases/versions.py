"""Routes of versions."""

from fastapi import APIRouter

from service.api.dependencies import (
    Config,
    Notifier,
    Now,
    Publisher,
    ReadOnly,
    ReleaseManager,
    Transaction,
    Viewer,
    envelope_bytes,
)
from service.api.middleware.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.api.releases.mappers import version_declaration
from service.api.releases.path_parameters import ModelName, VersionLabel
from service.api.schemas.base import (
    ManifestBody,
    ReasonBody,
    VersionBody,
    VersionView,
)
from service.operations.releases import declarations, manifests, versions
from service.operations.releases.views import version_view
from service.operations.rollouts import actions

router = APIRouter(prefix="/v1/admin", tags=["versions"], responses=RESPONSES, route_class=IdempotentRoute)


@router.get("/models/{model}/versions", summary="List the versions of a model")
def list_versions(model: ModelName, session: ReadOnly, _caller: Viewer) -> list[VersionView]:
    """Return the newest 100 versions, newest first."""
    return [
        VersionView.model_validate(version_view(session, row))
        for row in versions.list_for_model(session, model)
    ]


@router.post("/models/{model}/versions", status_code=201, summary="Declare a version")
def declare_version(
    model: ModelName, body: VersionBody, session: Transaction, caller: Publisher, settings: Config, now: Now
) -> VersionView:
    """Declare the size and digest of every file before the first upload. Repeating the request changes nothing."""
    row = declarations.declare(
        session,
        model,
        version_declaration(body),
        max_component_bytes=settings.max_component_bytes,
        actor=caller.name,
        now=now,
    )
    return VersionView.model_validate(version_view(session, row))


@router.get("/models/{model}/versions/{label}", summary="Get a version")
def get_version(model: ModelName, label: VersionLabel, session: ReadOnly, _caller: Viewer) -> VersionView:
    """Return the state of a version, the contents of its files, and the reason if it was rejected."""
    return VersionView.model_validate(version_view(session, versions.require(session, model, label)))


@router.get("/models/{model}/versions/{label}/manifest", summary="Get the signed manifest of a version")
def get_manifest(
    model: ModelName, label: VersionLabel, session: ReadOnly, _caller: Viewer
) -> dict[str, object]:
    """Return the manifest as a DSSE envelope, for example to ship the version inside an app."""
    return versions.signed_manifest(session, model, label)


@router.post("/models/{model}/versions/{label}/manifest", status_code=202, summary="Submit a signed manifest")
def submit_manifest(
    model: ModelName,
    label: VersionLabel,
    body: ManifestBody,
    session: Transaction,
    notifier: Notifier,
    caller: Publisher,
    now: Now,
) -> VersionView:
    """For a version that was declared with `signed_by_publisher`, when its `awaits_manifest` is true."""
    envelope = envelope_bytes(body.envelope)
    row = manifests.submit(session, notifier, model, label, envelope, actor=caller.name, now=now)
    return VersionView.model_validate(version_view(session, row))


@router.post("/models/{model}/versions/{label}/submit", summary="Submit a version")
def submit_version(
    model: ModelName,
    label: VersionLabel,
    session: Transaction,
    notifier: Notifier,
    caller: Publisher,
    now: Now,
) -> VersionView:
    """A worker verifies and inspects the files. Then the version is ready, or rejected with a reason."""
    row = versions.submit(session, notifier, model, label, actor=caller.name, now=now)
    return VersionView.model_validate(version_view(session, row))


@router.post("/models/{model}/versions/{label}/revoke", summary="Revoke a version")
def revoke_version(
    model: ModelName,
    label: VersionLabel,
    body: ReasonBody,
    session: Transaction,
    notifier: Notifier,
    caller: ReleaseManager,
    now: Now,
) -> VersionView:
    """End its rollouts; devices that run it get the newest version that is not revoked. This cannot be undone and
    needs a reason.
    """
    row = actions.revoke_version(
        session, notifier, model, label, actor=caller.name, reason=body.reason, now=now
    )
    return VersionView.model_validate(version_view(session, row))
