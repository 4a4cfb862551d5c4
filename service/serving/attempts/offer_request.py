"""A request for an attempt, and its result."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sdk_contract.reasons import Reason
from service.domain.rollouts.policy import Pacing
from service.domain.rollouts.retry_window import RetryWindow


@dataclass(frozen=True, slots=True)
class OfferRequest:
    """An offer that a decision wants to make to a device.

    Attributes:
        stage: index of the stage that admits the device.
        action: `install` or `rollback`.
        from_version: label of the version that the device runs, if it reported one.
        bytes_offered: size of the preferred download, in bytes.
        now: the time of the poll.
        lease_until: when the attempt times out unless the device reports.
        failure_fingerprint: the circumstances in which earlier failures count; see `domain.polling.failure_fingerprint`.
        pacing: limits on open downloads and bytes per hour.
        max_failures: how often the version may fail in these circumstances.
        device_class: the class that the attempt is counted under.
        known_device_classes: the classes that the rollout counts separately, according to the snapshot.
    """

    device_id: str
    model: str
    rollout_id: UUID
    version_id: int
    stage: int
    action: str
    from_version: str | None
    bytes_offered: int
    now: datetime
    lease_until: datetime
    failure_fingerprint: str
    pacing: Pacing
    max_failures: int
    device_class: str = ""
    known_device_classes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class OfferResult:
    """The attempt, or the reason why there is none.

    Attributes:
        attempt_id: the attempt; None if the request was refused.
        refusal: why the request was refused.
        device_known: whether the device is enrolled; a token may outlive the device's row.
        retry: the version failed on the device before, but the circumstances changed, so it may try again.
        retry_window: when to poll again if the request was `throttled`.
        failures: how often the version failed in these circumstances.
    """

    attempt_id: str | None
    refusal: Reason | None = None
    device_known: bool = True
    retry: bool = False
    retry_window: RetryWindow | None = None
    failures: int = 0
