"""What came of an update, for the host and for the command line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["updated", "up_to_date", "none", "hold", "waiting", "rolled_back", "probation", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one `Agent.update`.

    Attributes:
        status: `updated` (also to an older version, where the server ordered that), `probation` (runs, still
            to prove itself), `up_to_date`, `none` and `hold` (see `reason`), `waiting` (try later: conditions,
            space, budget), `rolled_back` (the trial failed, the old version runs), `failed`.
        reason: the server's reason, or the code of the error.
        version: what runs now, in the end.
        bytes_downloaded: by this call, wasted ones included.
        way: `glp1`, `full`, `mixed`, or None where nothing had to be downloaded.
        code: error code, where there was one.
        next_poll_s: what the server asks for; 0 where it did not say.
        retry_after_s: at least this long, said by a busy server.
    """

    status: Status
    reason: str
    version: str | None = None
    bytes_downloaded: int = 0
    bytes_wasted: int = 0
    way: str | None = None
    code: str | None = None
    detail: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    next_poll_s: int = 0
    retry_after_s: int = 0

    @property
    def ok(self) -> bool:
        """Nothing is wrong: updated, or nothing to do, or waiting for a good moment."""
        return self.status not in {"failed", "rolled_back"}
