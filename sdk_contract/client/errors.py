"""Errors of the client: network (10xx), storage (11xx), activation (4xxx) and policy (5xxx).

With the errors of `sdk_contract.errors` (2xxx) and `sdk_contract.patch.errors` (3xxx) these are all codes that a device
reports. The class's reaction decides what happens next; the message never does.
"""

from sdk_contract.errors import ContractError, Reaction


class Unreachable(ContractError):
    """The server cannot be reached, the connection broke, or the response is not valid."""

    code, number, reaction = "unreachable", 1001, Reaction.RETRY


class TlsFailed(ContractError):
    """The server's TLS certificate is not valid."""

    code, number, reaction = "tls_failed", 1002, Reaction.RETRY


class TimedOut(ContractError):
    """No data arrived within the timeout."""

    code, number, reaction = "timeout", 1003, Reaction.RETRY


class ServerBusy(ContractError):
    """The server is busy or failed (status 429 or 5xx).

    Attributes:
        retry_after_s: minimum delay before a retry, seconds; 0 if the server gave none.
    """

    code, number, reaction = "server_busy", 1004, Reaction.RETRY

    def __init__(self, detail: str = "", retry_after_s: int = 0) -> None:
        """Store the delay."""
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class UrlExpired(ContractError):
    """The download URL is no longer valid; the attempt continues with a new URL."""

    code, number, reaction = "url_expired", 1005, Reaction.RETRY


class RangeIgnored(ContractError):
    """The response to a range request contains a different range."""

    code, number, reaction = "range_ignored", 1006, Reaction.RETRY


class TooSlow(ContractError):
    """The download is slower than the minimum rate."""

    code, number, reaction = "too_slow", 1007, Reaction.RETRY


class RequestRejected(ContractError):
    """The server rejected the request (RFC 9457); a repeated request will not succeed.

    Attributes:
        status: HTTP status.
        problem: the problem's stable code, for example `unknown_device`.
        server_time: the server's clock from the problem, seconds since 1970, if present.
    """

    code, number, reaction = "request_rejected", 1008, Reaction.STOP

    def __init__(self, status: int, problem: str, detail: str = "", server_time: int | None = None) -> None:
        """Store the problem's fields."""
        super().__init__(f"{status} {problem} {detail}".rstrip())
        self.status = status
        self.problem = problem
        self.server_time = server_time


class InsecureServer(ContractError):
    """The server's URL is plain http to another machine, which would expose the access token."""

    code, number, reaction = "insecure_server", 1009, Reaction.STOP


class DevicePending(ContractError):
    """An operator has not accepted this device yet."""

    code, number, reaction = "device_pending", 1010, Reaction.WAIT


class NoSpace(ContractError):
    """The disk has too little free space for the update."""

    code, number, reaction = "no_space", 1101, Reaction.WAIT


class StorageFailed(ContractError):
    """The disk failed to read or write, or a file is corrupt."""

    code, number, reaction = "storage_failed", 1102, Reaction.RETRY


class ByteBudgetExceeded(ContractError):
    """The host's byte budget for downloads is used up."""

    code, number, reaction = "byte_budget_exceeded", 1103, Reaction.WAIT


class Busy(ContractError):
    """Another process has the lock of this directory."""

    code, number, reaction = "busy", 1104, Reaction.WAIT


class StateDamaged(ContractError):
    """The client's files are missing or unreadable; the device has to enroll again."""

    code, number, reaction = "state_damaged", 1105, Reaction.STOP


class LoadFailed(ContractError):
    """The runtime failed to load the model twice."""

    code, number, reaction = "load_failed", 4001, Reaction.ROLL_BACK


class SmokeFailed(ContractError):
    """The model loads, but its smoke test failed."""

    code, number, reaction = "smoke_failed", 4002, Reaction.ROLL_BACK


class CrashLoop(ContractError):
    """The process ended twice while it loaded or tried the model."""

    code, number, reaction = "crash_loop", 4003, Reaction.ROLL_BACK


class HealthTimeout(ContractError):
    """The app reported no health within the probation time."""

    code, number, reaction = "health_timeout", 4004, Reaction.ROLL_BACK


class AppRejected(ContractError):
    """The app reported bad health."""

    code, number, reaction = "app_rejected", 4005, Reaction.ROLL_BACK


class StillInUse(ContractError):
    """The app did not close the old files in time, so they cannot be changed in place."""

    code, number, reaction = "in_use", 4008, Reaction.WAIT


class ConditionsUnmet(ContractError):
    """The device does not meet the server's conditions for downloads yet."""

    code, number, reaction = "conditions_unmet", 5001, Reaction.WAIT


class Superseded(ContractError):
    """The server replaced this update by another one."""

    code, number, reaction = "superseded", 5004, Reaction.ROLL_BACK


class VersionBlocked(ContractError):
    """The version is on this device's blocklist because it failed before, and the server ordered no retry."""

    code, number, reaction = "version_blocked", 5006, Reaction.STOP
