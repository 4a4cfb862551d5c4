"""The configuration as one document: models, cohorts, templates, webhooks, drafts of rollouts."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from service.api.schemas.config import ConfigBody, OutcomeView
from service.api.rollouts.mappers import wanted_of
from service.api.dependencies import Config, Now, ReadOnly, ReleaseManager, Transaction
from service.api.middleware.idempotency import IdempotentRoute
from service.api.problems import RESPONSES
from service.operations.configuration import documents, reconcile

router = APIRouter(
    prefix="/v1/admin/config", tags=["config"], responses=RESPONSES, route_class=IdempotentRoute
)


@router.get("", summary="Everything as one document")
def get_config(
    response: Response,
    session: ReadOnly,
    _caller: ReleaseManager,
    lists: Annotated[bool, Query(description="With the device ids that cohorts list.")] = False,
) -> dict[str, Any]:
    """As far as it is not the default, with the addresses of webhooks. `ETag` is another whenever it is."""
    response.headers["ETag"] = f'"{documents.etag(session)}"'
    found = ConfigBody.model_validate(documents.export(session, include_members=lists))
    return found.model_dump(mode="json", exclude_defaults=True)


@router.put(
    "",
    summary="Bring about what a document says",
    responses={412: {**RESPONSES[409], "description": "Somebody has changed something since `If-Match`."}},
)
def put_config(
    body: ConfigBody,
    session: Transaction,
    caller: ReleaseManager,
    settings: Config,
    now: Now,
    dry_run: Annotated[bool, Query(description="Say what would change, and change nothing.")] = False,
    prune: Annotated[bool, Query(description="Remove what the document's sections do not name.")] = False,
    if_match: Annotated[str | None, Header(max_length=100)] = None,
) -> OutcomeView:
    """All of it or nothing. Rollouts that have left their draft are never changed; models are never removed."""
    outcome = reconcile.apply(
        session,
        wanted_of(session, body),
        actor=caller.name,
        now=now,
        prune=prune,
        dry_run=dry_run,
        expected_etag=if_match.strip().removeprefix("W/").strip('"') if if_match else None,
        allow_private=settings.webhook_allow_private,
    )
    return OutcomeView.model_validate(
        {
            "dry_run": dry_run,
            "changes": outcome.changes,
            "secrets": outcome.secrets,
            "etag": outcome.etag,
        }
    )
