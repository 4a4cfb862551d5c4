"""Request and response bodies of the configuration document."""

from typing import Any, Literal

from pydantic import Field

from sdk_contract.documents import Name
from service.api.schemas.base import Body, ModelBody, View
from service.api.schemas.cohorts import CohortBody
from service.api.schemas.rollouts import RolloutBody, TemplateBody
from service.api.schemas.webhooks import WebhookBody


class NamedModel(ModelBody):
    """A model of the document."""

    name: Name


class NamedCohort(CohortBody):
    """A cohort of the document; without `devices` its list does not change."""

    name: Name


class NamedTemplate(TemplateBody):
    """A rollout template of the document."""

    name: Name


class NamedWebhook(WebhookBody):
    """A webhook of the document; the server creates its secret."""

    name: Name


class ConfigBody(Body):
    """The configuration; a section that is omitted does not change."""

    models: list[NamedModel] | None = Field(default=None, max_length=1000)
    cohorts: list[NamedCohort] | None = Field(default=None, max_length=1000)
    templates: list[NamedTemplate] | None = Field(default=None, max_length=1000)
    webhooks: list[NamedWebhook] | None = Field(default=None, max_length=100)
    rollouts: list[RolloutBody] | None = Field(default=None, max_length=200)


class DifferenceView(View):
    """A field that differs; null stands for an absent value."""

    path: str
    before: Any
    after: Any


class ChangeView(View):
    """The change of one resource.

    Attributes:
        action: `skipped` if the resource differs from the document, or is not in it, but must not change; see `reason`.
        reason: why it was skipped.
    """

    section: str
    name: str
    action: Literal["create", "update", "unchanged", "delete", "skipped"]
    differences: list[DifferenceView]
    reason: str


class ConfigResultView(View):
    """The changes that a document makes, or with `dry_run` would make.

    Attributes:
        secrets: name -> secret of new webhooks; only this response contains them.
        etag: ETag of the configuration after the change, for `If-Match`.
    """

    dry_run: bool
    changes: list[ChangeView]
    secrets: dict[str, str]
    etag: str
