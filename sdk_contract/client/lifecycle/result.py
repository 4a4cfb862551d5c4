"""The result of an update, for the app and the command line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["updated", "up_to_date", "none", "pause", "waiting", "rolled_back", "probation", "failed"]


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """The result of one `Agent.update`.

    Attributes:
        status: `updated` (also after an ordered rollback), `probation` (the new version runs on probation),
            `up_to_date`, `none` or `pause` (see `reason`), `waiting` (for conditions, space, budget or activation),
            `rolled_back` (the trial failed and the old version runs), or `failed`.
        reason: the server's reason, or the error code.
        version: the version that runs now.
        bytes_downloaded: bytes downloaded by this call, including wasted ones.
        bytes_wasted: downloaded bytes that could not be used.
        download_format: `glp1`, `full`, `mixed`, or None when nothing was downloaded.
        code: the error code, if any.
        detail: the error's message.
        metrics: metrics of the activation.
        next_poll_s: the server's poll interval, seconds; 0 if unknown.
        retry_after_s: minimum delay that a busy server asked for, seconds.
    """

    status: Status
    reason: str
    version: str | None = None
    bytes_downloaded: int = 0
    bytes_wasted: int = 0
    download_format: str | None = None
    code: str | None = None
    detail: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    next_poll_s: int = 0
    retry_after_s: int = 0

    @property
    def ok(self) -> bool:
        """Whether the update did not fail: it succeeded, waits, or had nothing to do."""
        return self.status not in {"failed", "rolled_back"}
