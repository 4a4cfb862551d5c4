"""Which class of device a device is in: chip, memory class, system, app version.

A version may be fine on the whole and broken on one chip. Reports are counted by stratum, so that one
can be held back while the rest goes on.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

MAX_STRATA = 40
"""Past so many in a rollout, devices of further classes are counted together, in `OTHER`."""
OTHER = "other"
MAX_PART = 24
"""Characters that are kept of each attribute's value."""

_RAM_CLASSES_GB = (2, 3, 4, 6, 8, 12, 16, 24, 32)
_FOREIGN = re.compile(r"[^A-Za-z0-9._+-]+")


def stratum_of(attributes: Mapping[str, Any]) -> str:
    """A device's stratum, for example `soc=sm8650,ram=8g,os=android-14,app=5.2`.

    What the device does not say is left out; a device that says nothing is in the stratum "". Made of
    `soc`, `ram_mb`, `os` with the first number of `os_version`, and the first two of `app_version`.
    At most 120 characters, none of which needs quoting.
    """
    parts = {
        "soc": _text(attributes.get("soc")),
        "ram": _ram_class(attributes.get("ram_mb")),
        "os": _join(_text(attributes.get("os")), _numbers(attributes.get("os_version"), 1)),
        "app": _numbers(attributes.get("app_version"), 2),
    }
    return ",".join(f"{name}={value}" for name, value in parts.items() if value)


def held_strata(entries: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The strata that get nothing new, of what has been held back and, in part, released again."""
    return frozenset(entry["stratum"] for entry in entries if "released_at" not in entry)


def settled(stratum: str, known: Collection[str]) -> str:
    """The stratum under which a rollout that knows `known` counts a device: its own, or `OTHER` when it has enough."""
    return stratum if stratum in known or len(known) < MAX_STRATA else OTHER


def _text(value: Any) -> str:
    return _FOREIGN.sub("-", str(value)).strip("-").lower()[:MAX_PART] if value is not None else ""


def _ram_class(value: Any) -> str:
    """The least class that holds it: phones say a little less than what is printed on the box."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return ""
    fitting = next((size for size in _RAM_CLASSES_GB if value <= size * 1024), None)
    return f"{fitting}g" if fitting else f"{_RAM_CLASSES_GB[-1]}g+"


def _numbers(value: Any, count: int) -> str:
    """The first parts of a version: `5.2.1` is `5.2` when two are asked for."""
    return ".".join(_text(value).split(".")[:count])


def _join(name: str, version: str) -> str:
    return f"{name}-{version}" if name and version else name
