"""Routes of the configuration document: models, cohorts, templates, webhooks and drafts of rollouts."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from service.api.dependencies import Config, Now, ReadOnly, ReleaseManager, Transaction
from service.api.middleware.idempotency import IdempotentRoute
from service.api.platform.mappers import desired_config
from service.api.problems import RESPONSES
from service.api.schemas.config import ConfigBody, ConfigResultView
from service.operations.configuration import documents, reconcile

router = APIRouter(
    prefix="/v1/admin/config", tags=["config"], responses=RESPONSES, route_class=IdempotentRoute
)


@router.get("", summary="Export the configuration")
def get_config(
    response: Response,
    session: ReadOnly,
    _caller: ReleaseManager,
    include_device_ids: Annotated[
        bool, Query(description="Include the device ids that cohorts list.")
    ] = False,
) -> dict[str, Any]:
    """Return the configuration without default values, with the URLs of webhooks. `ETag` identifies its content."""
    response.headers["ETag"] = f'"{documents.etag(session)}"'
    document = ConfigBody.model_validate(documents.export(session, include_members=include_device_ids))
    return document.model_dump(mode="json", exclude_defaults=True)


@router.put(
    "",
    summary="Apply a configuration",
    responses={412: {**RESPONSES[409], "description": "The configuration has changed since `If-Match`."}},
)
def put_config(
    body: ConfigBody,
    session: Transaction,
    caller: ReleaseManager,
    settings: Config,
    now: Now,
    dry_run: Annotated[bool, Query(description="Return the changes without making them.")] = False,
    prune: Annotated[
        bool, Query(description="Delete resources that are missing from the document's sections.")
    ] = False,
    if_match: Annotated[str | None, Header(max_length=100)] = None,
) -> ConfigResultView:
    """Apply all changes or none. Only drafts of rollouts are changed, and models are never deleted."""
    outcome = reconcile.apply(
        session,
        desired_config(session, body),
        actor=caller.name,
        now=now,
        prune=prune,
        dry_run=dry_run,
        expected_etag=if_match.strip().removeprefix("W/").strip('"') if if_match else None,
        allow_private=settings.webhook_allow_private,
    )
    return ConfigResultView.model_validate(
        {
            "dry_run": dry_run,
            "changes": outcome.changes,
            "secrets": outcome.secrets,
            "etag": outcome.etag,
        }
    )
