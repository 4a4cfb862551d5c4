"""The host of `graylag-agent`: a Linux machine, asked through its own files."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sdk_contract.client.host import Surroundings

POWER = Path("/sys/class/power_supply")
IDLE_LOAD = 0.5
"""Load average of the last minute per core, below which a machine counts as idle."""


@dataclass(frozen=True, slots=True)
class Machine:
    """`Host` by what the kernel says, and by what the operator knows better.

    Attributes:
        metered: somebody pays for each byte; the kernel cannot know.
        byte_budget: bytes that one update may download.
        power: where the kernel lists batteries and chargers.
    """

    metered: bool = False
    byte_budget: int | None = None
    power: Path = POWER

    def surroundings(self) -> Surroundings:
        """See `host.Host`."""
        return Surroundings(
            metered=self.metered,
            charging=charging(self.power),
            idle=os.getloadavg()[0] < IDLE_LOAD * (os.cpu_count() or 1),
            byte_budget=self.byte_budget,
        )

    def now(self) -> datetime:
        """See `host.Host`."""
        return datetime.now(UTC)

    def killed_by_system(self) -> bool:
        """See `host.Host`: a Linux process leaves no word about its end, so two ends in a trial are needed."""
        return False


def charging(power: Path) -> bool:
    """Is the machine on a charger, or without any battery?"""
    batteries = False
    for supply in sorted(power.iterdir()) if power.is_dir() else []:
        kind = _word(supply / "type")
        if kind in ("Mains", "USB", "Wireless") and _word(supply / "online") == "1":
            return True
        batteries = batteries or (kind == "Battery" and _word(supply / "scope") != "Device")
    return not batteries


def _word(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
