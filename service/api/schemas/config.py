"""Bodies of the admin API about the configuration as one document."""

from typing import Any, Literal

from pydantic import Field

from sdk_contract.documents import Name
from service.api.schemas.cohorts import CohortBody
from service.api.schemas.rollouts import RolloutBody, TemplateBody
from service.api.schemas.base import Body, ModelBody, View
from service.api.schemas.webhooks import WebhookBody


class NamedModel(ModelBody):
    """A model."""

    name: Name


class NamedCohort(CohortBody):
    """A cohort; without `devices` its list stays as it is."""

    name: Name


class NamedTemplate(TemplateBody):
    """A template."""

    name: Name


class NamedWebhook(WebhookBody):
    """A webhook; its secret is the server's."""

    name: Name


class ConfigBody(Body):
    """Everything that people write down; a section that is left out stays as it is."""

    models: list[NamedModel] | None = Field(default=None, max_length=1000)
    cohorts: list[NamedCohort] | None = Field(default=None, max_length=1000)
    templates: list[NamedTemplate] | None = Field(default=None, max_length=1000)
    webhooks: list[NamedWebhook] | None = Field(default=None, max_length=100)
    rollouts: list[RolloutBody] | None = Field(default=None, max_length=200)


class DifferenceView(View):
    """One place at which a thing differs; null for what is not there."""

    path: str
    before: Any
    after: Any


class ChangeView(View):
    """What becomes of one thing.

    Attributes:
        action: `skipped` if the resource differs from the document, or is not in it, and is left alone; see `reason`.
    """

    section: str
    name: str
    action: Literal["create", "update", "unchanged", "delete", "skipped"]
    differences: list[DifferenceView]
    reason: str


class OutcomeView(View):
    """What a document has brought about, or with `dry_run` would.

    Attributes:
        secrets: of new webhooks, by name; shown this once.
        etag: of the configuration as it is now; for `If-Match`.
    """

    dry_run: bool
    changes: list[ChangeView]
    secrets: dict[str, str]
    etag: str
