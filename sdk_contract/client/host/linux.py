"""The host of `graylag-agent`: reads a Linux machine's conditions from the kernel."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sdk_contract.client.host.conditions import DeviceConditions

POWER_SUPPLY = Path("/sys/class/power_supply")
MAX_IDLE_LOAD = 0.5
"""A machine counts as idle below this load average per core, over the last minute."""


@dataclass(frozen=True, slots=True)
class LinuxHost:
    """A `Host` that combines kernel information with the operator's settings.

    Attributes:
        metered: the network charges by the byte, which the kernel cannot know.
        byte_budget: maximum number of bytes that one update downloads; absent for no limit.
        power_supply: directory where the kernel lists batteries and chargers.
    """

    metered: bool = False
    byte_budget: int | None = None
    power_supply: Path = POWER_SUPPLY

    def conditions(self) -> DeviceConditions:
        """See `Host`."""
        return DeviceConditions(
            metered=self.metered,
            charging=is_charging(self.power_supply),
            idle=os.getloadavg()[0] < MAX_IDLE_LOAD * (os.cpu_count() or 1),
            byte_budget=self.byte_budget,
        )

    def now(self) -> datetime:
        """See `Host`."""
        return datetime.now(UTC)

    def killed_by_system(self) -> bool:
        """See `Host`; Linux does not record why a process ended, so the answer is always False."""
        return False


def is_charging(power_supply: Path) -> bool:
    """Whether the machine is on external power, or has no battery."""
    batteries = False
    for supply in sorted(power_supply.iterdir()) if power_supply.is_dir() else []:
        kind = _read_word(supply / "type")
        if kind in ("Mains", "USB", "Wireless") and _read_word(supply / "online") == "1":
            return True
        batteries = batteries or (kind == "Battery" and _read_word(supply / "scope") != "Device")
    return not batteries


def _read_word(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
