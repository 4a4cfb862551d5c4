"""Every error that the service reports on purpose: a stable code, an HTTP status, a title and a detail.

This module knows no framework: `api/problems.py` renders the errors as RFC 9457 problem documents.

A detail says what is wrong, where, and what to do next.
"""

from typing import Any


class UserFacingError(Exception):
    """An error whose text is meant for the user: the command line prints it as one line, without a traceback."""


class ServiceError(UserFacingError):
    """An error with a stable code.

    Attributes:
        code: stable identifier that clients decide by.
        status: HTTP status.
        title: the kind of error; the same for every instance of a class.
        detail: what is wrong in this case, and what to do next.
        field: path of the invalid field, for example `stages.1.percent`.
        retry_after_s: when the same request may succeed, in seconds; None if it never will.
        extra: further members of the problem document.
    """

    code = "internal"
    status = 500
    title = "Internal error"

    def __init__(
        self, detail: str = "", *, field: str | None = None, retry_after_s: int | None = None, **extra: Any
    ) -> None:
        """Describe this case; code, status and title belong to the class."""
        super().__init__(f"{self.code}: {detail}" if detail else self.code)
        self.detail = detail
        self.field = field
        self.retry_after_s = retry_after_s
        self.extra = extra


class NotFound(ServiceError):
    """The requested object does not exist."""

    code, status, title = "not_found", 404, "Not found"


class UnknownModel(NotFound):
    """No model of that name is served."""

    code, title = "unknown_model", "Unknown model"


class UnknownDevice(NotFound):
    """The device is not enrolled."""

    code, title = "unknown_device", "Unknown device"


class ModelRequired(ServiceError):
    """Several models are served, and the request names none."""

    code, status, title = "model_required", 422, "Model required"


class Invalid(ServiceError):
    """A value in the request is invalid."""

    code, status, title = "invalid", 422, "Invalid value"


class InvalidRule(Invalid):
    """A cohort rule or a variant selector is invalid."""

    code, title = "invalid_rule", "Invalid rule"


class InvalidStages(Invalid):
    """The stages of a rollout are invalid."""

    code, title = "invalid_stages", "Invalid stages"


class InvalidPolicy(Invalid):
    """The policy of a rollout is invalid."""

    code, title = "invalid_policy", "Invalid policy"


class ReasonRequired(Invalid):
    """The action cannot be undone, so it needs a reason."""

    code, title = "reason_required", "Reason required"


class InvalidGate(Invalid):
    """A gate names an unknown metric, or its limits are invalid."""

    code, title = "invalid_gate", "Invalid gate"


class InvalidWebhook(Invalid):
    """A webhook names an unknown event, or an address that messages must not be sent to."""

    code, title = "invalid_webhook", "Invalid webhook"


class Conflict(ServiceError):
    """The request is valid, but conflicts with the current state."""

    code, status, title = "conflict", 409, "Conflict"


class VersionExists(Conflict):
    """The label is used by a version with different content."""

    code, title = "version_exists", "Version label already used"


class CounterNotRising(Conflict):
    """The counter of a version must be greater than those of all earlier versions."""

    code, title = "counter_not_rising", "Counter must be greater"


class FloorTooHigh(Conflict):
    """The floor of a version must not be above its own counter, nor rise too far at once."""

    code, title = "floor_too_high", "Floor too high"


class UploadIncomplete(Conflict):
    """Parts or whole components have not been uploaded."""

    code, title = "upload_incomplete", "Upload incomplete"


class VersionNotReady(Conflict):
    """The version cannot be rolled out in its current state."""

    code, title = "version_not_ready", "Version not ready"


class WrongState(Conflict):
    """The action is not possible in the current state."""

    code, title = "wrong_state", "Wrong state"


class RollbackPatchesPending(Conflict):
    """The patches for a rollback are still being built."""

    code, title = "rollback_patches_pending", "Rollback patches pending"


class RolloutConflict(Conflict):
    """Another rollout would give the same devices another version."""

    code, title = "rollout_conflict", "Rollout conflict"


class AlreadyApproved(Conflict):
    """This person has approved the rollout before."""

    code, title = "already_approved", "Already approved"


class NameTaken(Conflict):
    """The name is used by another object."""

    code, title = "name_taken", "Name already used"


class StillInUse(Conflict):
    """Another object depends on this one."""

    code, title = "still_in_use", "Still in use"


class ConfigChanged(ServiceError):
    """The configuration has changed since it was read."""

    code, status, title = "config_changed", 412, "Configuration changed"


class KeyReused(ServiceError):
    """The idempotency key was used for a different request."""

    code, status, title = "idempotency_key_reused", 422, "Idempotency key reused"


class Unauthorized(ServiceError):
    """The credential is missing or invalid."""

    code, status, title = "unauthorized", 401, "Unauthorized"


class TokenExpired(Unauthorized):
    """The credential has expired, or is not valid yet."""

    code, title = "token_expired", "Token expired"


class Replayed(Unauthorized):
    """The credential was valid for one request only, and was used before."""

    code, title = "replayed", "Credential already used"


class Forbidden(ServiceError):
    """The credential does not allow this."""

    code, status, title = "forbidden", 403, "Forbidden"


class SelfApproval(Forbidden):
    """The author of a rollout must not approve it."""

    code, title = "self_approval", "Self-approval not allowed"


class DeviceMismatch(Forbidden):
    """The request names another device than the credential."""

    code, title = "device_mismatch", "Device mismatch"


class ModelNotServed(Forbidden):
    """The device is not enrolled for the model."""

    code, title = "model_not_served", "Model not available to this device"


class DeviceSuspended(Forbidden):
    """An operator has suspended or decommissioned the device."""

    code, title = "device_suspended", "Device suspended"


class TooLarge(ServiceError):
    """The request body is longer than allowed."""

    code, status, title = "too_large", 413, "Request body too large"


class TooMany(ServiceError):
    """The caller has exceeded a rate limit."""

    code, status, title = "too_many_requests", 429, "Too many requests"


class Unavailable(ServiceError):
    """A server that this one depends on does not respond; the request may be retried."""

    code, status, title = "unavailable", 503, "Temporarily unavailable"
