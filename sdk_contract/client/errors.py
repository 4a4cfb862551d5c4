"""Refusals of the client itself: network and storage (1xxx), activation (4xxx), policy (5xxx).

Together with `sdk_contract.errors` (2xxx) and the patch errors (3xxx) these are all the codes that a
device reports. The reaction of the class decides what happens next; the sentence never does.
"""

from sdk_contract.errors import ContractError, Reaction


class Unreachable(ContractError):
    """No connection, or it broke: the name, the network or the other side."""

    code, number, reaction = "unreachable", 1001, Reaction.RETRY


class TlsFailed(ContractError):
    """The other side could not prove who it is."""

    code, number, reaction = "tls", 1002, Reaction.RETRY


class TimedOut(ContractError):
    """Nothing came for too long."""

    code, number, reaction = "timeout", 1003, Reaction.RETRY


class ServerBusy(ContractError):
    """The server asks for patience (429, 5xx).

    Attributes:
        retry_after_s: seconds to wait at least; 0 where the server did not say.
    """

    code, number, reaction = "http_5xx", 1004, Reaction.RETRY

    def __init__(self, detail: str = "", retry_after_s: int = 0) -> None:
        """Keep how long to wait."""
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class UrlExpired(ContractError):
    """The address no longer serves the object; the attempt lives on with a fresh one."""

    code, number, reaction = "url_expired", 1005, Reaction.RETRY


class WrongRange(ContractError):
    """The answer to a range request holds other bytes than were asked for."""

    code, number, reaction = "range_ignored", 1006, Reaction.RETRY


class TooSlow(ContractError):
    """Bytes trickle below the lowest useful rate."""

    code, number, reaction = "slow", 1007, Reaction.RETRY


class Refused(ContractError):
    """The server said no (RFC 9457) and the same request will not succeed later.

    Attributes:
        status: HTTP status.
        problem: its stable code, for example `unknown_device`.
        server_time: the server's clock, seconds since 1970, where it said so.
    """

    code, number, reaction = "refused", 1008, Reaction.STOP

    def __init__(self, status: int, problem: str, detail: str = "", server_time: int | None = None) -> None:
        """Keep status and code of the problem."""
        super().__init__(f"{status} {problem} {detail}".rstrip())
        self.status = status
        self.problem = problem
        self.server_time = server_time


class InsecureServer(ContractError):
    """Plain http to another machine would show the access token to everyone on the way."""

    code, number, reaction = "insecure_server", 1009, Reaction.STOP


class Pending(ContractError):
    """An operator has to accept this device first."""

    code, number, reaction = "device_pending", 1010, Reaction.WAIT


class NoSpace(ContractError):
    """The disk has no room for what the update needs."""

    code, number, reaction = "no_space", 1101, Reaction.WAIT


class StorageFailed(ContractError):
    """The disk refused to read or write."""

    code, number, reaction = "io", 1102, Reaction.RETRY


class BudgetSpent(ContractError):
    """The host's byte budget does not allow more for now."""

    code, number, reaction = "quota", 1103, Reaction.WAIT


class Busy(ContractError):
    """Another process updates in this directory."""

    code, number, reaction = "busy", 1104, Reaction.WAIT


class StateDamaged(ContractError):
    """The state file and its copy are both unreadable, or there is none."""

    code, number, reaction = "state_damaged", 1105, Reaction.STOP


class BaseMissing(ContractError):
    """The file that a patch starts from is not here, or not intact."""

    code, number, reaction = "base_missing", 3001, Reaction.FULL


class LoadFailed(ContractError):
    """The runtime could not load the model, twice."""

    code, number, reaction = "load_failed", 4001, Reaction.ROLL_BACK


class SmokeFailed(ContractError):
    """The model loads but does not do its work."""

    code, number, reaction = "smoke_failed", 4002, Reaction.ROLL_BACK


class CrashLoop(ContractError):
    """The process died while it loaded or tried the model, twice."""

    code, number, reaction = "crash_loop", 4003, Reaction.ROLL_BACK


class HealthTimeout(ContractError):
    """Nobody reported health within the time of probation."""

    code, number, reaction = "health_timeout", 4004, Reaction.ROLL_BACK


class AppRejected(ContractError):
    """The host's health report says no."""

    code, number, reaction = "app_rejected", 4005, Reaction.ROLL_BACK


class StillInUse(ContractError):
    """The host did not let go of the old files in time; they cannot change in place now."""

    code, number, reaction = "in_use", 4008, Reaction.WAIT


class ConditionsUnmet(ContractError):
    """Network, charger or idleness are not as asked; nothing is wrong."""

    code, number, reaction = "conditions_unmet", 5001, Reaction.WAIT


class Superseded(ContractError):
    """The server ordered something else meanwhile."""

    code, number, reaction = "superseded", 5004, Reaction.ROLL_BACK


class KnownBad(ContractError):
    """This version failed here before, and the server did not say to try again."""

    code, number, reaction = "known_bad", 5006, Reaction.STOP
