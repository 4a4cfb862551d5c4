"""Device classes: chip, memory, operating system and app version of a device.

A version may be fine overall and broken on one chip. Reports are counted per device class, so that a rollout can
pause for one class and continue for the others.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

MAX_DEVICE_CLASSES = 40
"""Device classes that a rollout counts separately; further ones are counted together as `OTHER`."""
OTHER = "other"
MAX_PART_LENGTH = 24
"""Characters that are kept of each attribute's value."""

_RAM_CLASSES_GB = (2, 3, 4, 6, 8, 12, 16, 24, 32)
_UNSAFE_CHARACTERS = re.compile(r"[^A-Za-z0-9._+-]+")


def device_class_of(attributes: Mapping[str, Any]) -> str:
    """Return the class of a device, for example `soc=sm8650,ram=8g,os=android-14,app=5.2`.

    The class is made of `soc`, `ram_mb`, `os` with the first number of `os_version`, and the first two numbers of
    `app_version`. Attributes that the device does not report are left out; a device that reports none of them is in
    the class "". A class has at most 120 characters, none of which needs quoting.
    """
    parts = {
        "soc": _text(attributes.get("soc")),
        "ram": _ram_class(attributes.get("ram_mb")),
        "os": _join(_text(attributes.get("os")), _version_prefix(attributes.get("os_version"), 1)),
        "app": _version_prefix(attributes.get("app_version"), 2),
    }
    return ",".join(f"{name}={value}" for name, value in parts.items() if value)


def paused_classes(entries: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Return the device classes that are paused now, from the entries of all that ever were in a rollout."""
    return frozenset(entry["device_class"] for entry in entries if "resumed_at" not in entry)


def effective_class(device_class: str, known: Collection[str]) -> str:
    """Return the class under which a rollout that knows `known` counts a device: its own, or `OTHER`."""
    return device_class if device_class in known or len(known) < MAX_DEVICE_CLASSES else OTHER


def _text(value: Any) -> str:
    if value is None:
        return ""
    return _UNSAFE_CHARACTERS.sub("-", str(value)).strip("-").lower()[:MAX_PART_LENGTH]


def _ram_class(value: Any) -> str:
    """Return the smallest class that fits: phones report slightly less memory than their data sheets."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return ""
    fitting = next((size for size in _RAM_CLASSES_GB if value <= size * 1024), None)
    return f"{fitting}g" if fitting else f"{_RAM_CLASSES_GB[-1]}g+"


def _version_prefix(value: Any, count: int) -> str:
    """Return the first `count` parts of a version: `5.2.1` is `5.2` for two."""
    return ".".join(_text(value).split(".")[:count])


def _join(name: str, version: str) -> str:
    return f"{name}-{version}" if name and version else name
