"""Bodies of the admin API about gates and what they saw."""

from datetime import datetime
from typing import Any

from pydantic import Field

from service.api.schemas import Body, View


class ReleaseBody(Body):
    """Which class of device may have the version again, and why."""

    stratum: str = Field(max_length=200)
    reason: str = Field(default="", max_length=1000)


class HeldView(View):
    """A class of device that gets nothing new."""

    stratum: str
    reason: str
    since: datetime


class VerdictView(View):
    """What the gates said, and the counts that they saw.

    Attributes:
        outcome: `advance`, `hold` or `breach`.
        cause: a word for the reason that stays the same while counts grow.
        figures: `findings` (per gate: value, bound, reports, control, evidence, needed), `coverage`, `early` and
            `late` (failure rates of devices that reported within an hour of their offer, and of the others), `strata`.
    """

    at: datetime
    stage: int
    outcome: str
    cause: str
    reason: str
    figures: dict[str, Any]


class GatesView(View):
    """The gates of a rollout as they stand now.

    Attributes:
        verdict: of this moment, written down or not; null where nobody looks at the rollout.
        held: strata that are held back.
        measured: metric -> arm (`treated`, `control`) -> number of devices and their geometric mean.
    """

    verdict: VerdictView | None
    held: list[HeldView]
    measured: dict[str, dict[str, dict[str, float | None]]]
