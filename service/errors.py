"""Every way in which the service says no: a stable code, an HTTP status, a sentence.

Knows no framework: `api/problems.py` renders these as RFC 9457 problems.
"""

from typing import Any


class Refusal(Exception):
    """A "no" that is meant for a person: the command line shows its text as one line, without a trace."""


class ServiceError(Refusal):
    """A named refusal.

    Attributes:
        code: stable string that clients decide on.
        status: HTTP status.
        title: what kind of refusal it is; the same for every instance.
        detail: what is wrong here, and what to change.
        field: the place at fault, for example `stages.1.percent`.
        retry_after_s: when the same request may succeed; None where it never will.
        extra: further members of the problem document.
    """

    code = "internal"
    status = 500
    title = "Something went wrong on our side"

    def __init__(
        self, detail: str = "", *, field: str | None = None, retry_after_s: int | None = None, **extra: Any
    ) -> None:
        """Say what is wrong here; the code and status belong to the class."""
        super().__init__(f"{self.code}: {detail}" if detail else self.code)
        self.detail = detail
        self.field = field
        self.retry_after_s = retry_after_s
        self.extra = extra


class NotFound(ServiceError):
    """There is no such thing."""

    code, status, title = "not_found", 404, "Not found"


class UnknownModel(NotFound):
    """No model of that name is served."""

    code, title = "unknown_model", "Unknown model"


class UnknownDevice(NotFound):
    """The device has not been enrolled."""

    code, title = "unknown_device", "Unknown device"


class ModelRequired(ServiceError):
    """Several models are served, and the request names none."""

    code, status, title = "model_required", 422, "Which model?"


class Invalid(ServiceError):
    """A value that makes no sense."""

    code, status, title = "invalid", 422, "Invalid value"


class InvalidRule(Invalid):
    """A cohort rule or selector that cannot be read."""

    code, title = "invalid_rule", "Invalid rule"


class InvalidStages(Invalid):
    """Stages that do not form a staged rollout."""

    code, title = "invalid_stages", "Invalid stages"


class InvalidPolicy(Invalid):
    """How a rollout shall behave makes no sense."""

    code, title = "invalid_policy", "Invalid policy"


class ReasonRequired(Invalid):
    """What cannot be undone is done with a reason."""

    code, title = "reason_required", "Say why"


class InvalidGate(Invalid):
    """A gate on something that is not measured, or with bounds that make no sense."""

    code, title = "invalid_gate", "Invalid gate"


class InvalidWebhook(Invalid):
    """A webhook on something that never happens, or at an address that messages must not go to."""

    code, title = "invalid_webhook", "Invalid webhook"


class Conflict(ServiceError):
    """The request is well-formed and does not fit the present state."""

    code, status, title = "conflict", 409, "Conflict"


class VersionExists(Conflict):
    """The label is taken by other content."""

    code, title = "version_exists", "Version label already used"


class CounterNotRising(Conflict):
    """A version's counter has to be above all earlier ones."""

    code, title = "counter_not_rising", "Counter must rise"


class FloorTooHigh(Conflict):
    """A version cannot forbid itself."""

    code, title = "floor_too_high", "Floor above the version"


class UploadIncomplete(Conflict):
    """Parts or whole components are missing."""

    code, title = "upload_incomplete", "Upload incomplete"


class VersionNotReady(Conflict):
    """The version cannot be rolled out in its present state."""

    code, title = "version_not_ready", "Version not ready"


class WrongState(Conflict):
    """The verb does not apply in the present state."""

    code, title = "wrong_state", "Not possible in this state"


class RollbackNotRehearsed(Conflict):
    """The ways back are still being made."""

    code, title = "rollback_not_rehearsed", "Rollback not rehearsed"


class RolloutsFight(Conflict):
    """Two rollouts would pull the same devices in two directions."""

    code, title = "rollouts_fight", "Rollouts would fight"


class AlreadyApproved(Conflict):
    """One person is one voice."""

    code, title = "already_approved", "Already approved"


class NameTaken(Conflict):
    """The name is used by something else."""

    code, title = "name_taken", "Name already used"


class StillInUse(Conflict):
    """Something else depends on it."""

    code, title = "still_in_use", "Still in use"


class ConfigChanged(ServiceError):
    """Somebody else has changed the configuration since it was read."""

    code, status, title = "config_changed", 412, "Configuration changed"


class KeyReused(ServiceError):
    """The idempotency key came with another request before."""

    code, status, title = "idempotency_key_reused", 422, "Idempotency key reused"


class Unauthorized(ServiceError):
    """No credential, or one that is not good."""

    code, status, title = "unauthorized", 401, "Unauthorized"


class TokenExpired(Unauthorized):
    """The credential was good once."""

    code, title = "token_expired", "Token expired"


class Replayed(Unauthorized):
    """The credential was good for one request, which has been made."""

    code, title = "replayed", "Already used"


class Forbidden(ServiceError):
    """The credential does not allow this."""

    code, status, title = "forbidden", 403, "Forbidden"


class OwnApproval(Forbidden):
    """Whoever wrote a rollout does not approve it."""

    code, title = "own_approval", "Not your own"


class NotYourself(Forbidden):
    """A device acts for itself only."""

    code, title = "not_yourself", "A device acts for itself only"


class ModelNotServed(Forbidden):
    """The device was let in for other models."""

    code, title = "model_not_served", "Model not served to this device"


class DeviceSuspended(Forbidden):
    """An operator has taken the device out of service."""

    code, title = "device_suspended", "Device suspended"


class TooLarge(ServiceError):
    """The body is longer than allowed."""

    code, status, title = "too_large", 413, "Body too large"


class TooMany(ServiceError):
    """Slow down."""

    code, status, title = "too_many_requests", 429, "Too many requests"


class Unavailable(ServiceError):
    """Something that we depend on is away; try again."""

    code, status, title = "unavailable", 503, "Temporarily unavailable"
