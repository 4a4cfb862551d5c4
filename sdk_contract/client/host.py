"""What the device allows right now: network, charger, idleness, bytes, and the wall clock."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from sdk_contract.client.errors import ConditionsUnmet
from sdk_contract.documents import timestamp
from sdk_contract.wire import Conditions


@dataclass(frozen=True, slots=True)
class Surroundings:
    """How the device is right now.

    Attributes:
        online: there is a network at all.
        metered: somebody pays for each byte.
        byte_budget: how many bytes may be downloaded now; absent for any number.
    """

    online: bool = True
    metered: bool = False
    charging: bool = True
    idle: bool = True
    byte_budget: int | None = None


class Host(Protocol):
    """The platform around the client; asked before and during every download."""

    def surroundings(self) -> Surroundings:
        """How things are now; cheap, it is asked once per second of download."""

    def now(self) -> datetime:
        """The wall clock, with a time zone; it may be wrong."""

    def killed_by_system(self) -> bool:
        """Did the operating system end the last process (memory, reboot, update of the app)?

        Such an end is no strike against the model. A host that cannot know says no; then it takes
        two such ends in a row during a trial to be mistaken for a crash loop.
        """


class PlainHost:
    """A machine on mains and cable, such as a server, a kiosk or a test."""

    def surroundings(self) -> Surroundings:
        """See `Host`."""
        return Surroundings()

    def now(self) -> datetime:
        """See `Host`."""
        return datetime.now(UTC)

    def killed_by_system(self) -> bool:
        """See `Host`."""
        return False


def require_met(asked: Conditions | None, host: Host) -> None:
    """Refuse to download for now, unless the device is as the server asks; after the deadline any network does.

    Raises:
        ConditionsUnmet: naming what is missing.
    """
    found = host.surroundings()
    if not found.online:
        raise ConditionsUnmet("no network")
    if asked is None or (asked.deadline is not None and timestamp(host.now()) >= asked.deadline):
        return
    unmet = {
        "an unmetered network": asked.network == "unmetered" and found.metered,
        "the charger": asked.charging and not found.charging,
        "idleness": asked.idle and not found.idle,
    }
    missing = [name for name, absent in unmet.items() if absent]
    if missing:
        raise ConditionsUnmet(f"needs {', '.join(missing)}")


def jittered(seconds: float, *, low: float = 0.9, high: float = 1.1) -> float:
    """`seconds` times a random factor: a fleet that woke together must not poll together."""
    return seconds * (low + (high - low) * secrets.SystemRandom().random())
