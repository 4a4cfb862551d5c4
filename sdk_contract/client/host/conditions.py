"""The platform's view of the device: network, charger, load, byte budget and clock."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from sdk_contract.client.errors import ConditionsUnmet
from sdk_contract.documents import format_timestamp
from sdk_contract.wire import Conditions


@dataclass(frozen=True, slots=True)
class DeviceConditions:
    """The current conditions of the device.

    Attributes:
        online: a network is available.
        metered: the network charges by the byte.
        charging: the device is on external power.
        idle: the device has little other work.
        byte_budget: maximum number of bytes to download now; absent for no limit.
    """

    online: bool = True
    metered: bool = False
    charging: bool = True
    idle: bool = True
    byte_budget: int | None = None


class Host(Protocol):
    """The platform that the client runs on."""

    def conditions(self) -> DeviceConditions:
        """Return the current conditions. The client asks once per second of download, so this must be cheap."""

    def now(self) -> datetime:
        """Return the wall clock, with a time zone. It may be wrong."""

    def killed_by_system(self) -> bool:
        """Whether the operating system ended the last process (low memory, reboot, update of the app).

        Such an end does not count as a failed start. A host that cannot tell returns False; then two such ends
        in a row during a trial look like a crash loop.
        """


class StaticHost:
    """A host whose conditions never change: external power and an unmetered network."""

    def conditions(self) -> DeviceConditions:
        """See `Host`."""
        return DeviceConditions()

    def now(self) -> datetime:
        """See `Host`."""
        return datetime.now(UTC)

    def killed_by_system(self) -> bool:
        """See `Host`."""
        return False


def require_conditions(required: Conditions | None, host: Host) -> None:
    """Check that the device meets the server's conditions; after their deadline, any network is enough.

    Raises:
        ConditionsUnmet: names the conditions that are not met.
    """
    device = host.conditions()
    if not device.online:
        raise ConditionsUnmet("no network")
    if required is None or (
        required.deadline is not None and format_timestamp(host.now()) >= required.deadline
    ):
        return
    unmet = {
        "an unmetered network": required.network == "unmetered" and device.metered,
        "external power": required.charging and not device.charging,
        "an idle device": required.idle and not device.idle,
    }
    missing = [name for name, absent in unmet.items() if absent]
    if missing:
        raise ConditionsUnmet(f"waiting for {', '.join(missing)}")


def jittered(seconds: float, *, low: float = 0.9, high: float = 1.1) -> float:
    """Multiply by a random factor, so that devices that start together do not act together."""
    return seconds * (low + (high - low) * secrets.SystemRandom().random())
