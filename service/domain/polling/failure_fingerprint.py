"""The fingerprint that tells which failures of a version count against a device.

A device that failed a version too many times is left alone until its fingerprint changes: by a new variant or patch,
or another app, operating system or runtime on the device. What changes all day, such as battery, free space and
network, is not part of the fingerprint; otherwise no device would ever be left alone.
"""

import hashlib
import json
from collections.abc import Sequence

from service.domain.polling.decisions import Delivery
from service.domain.targeting.rules import Attributes

FINGERPRINT_ATTRIBUTES = (
    "app_version",
    "os",
    "os_version",
    "ram_mb",
    "runtime",
    "runtime_version",
    "sdk_version",
    "soc",
)


def failure_fingerprint(variant: str, deliveries: Sequence[Delivery], attributes: Attributes) -> str:
    """Return a digest, 16 hex digits, of everything that may make the next attempt end differently."""
    patches = {
        delivery.component.sha256: [patch.sha256 for patch in delivery.patches] for delivery in deliveries
    }
    relevant = {name: attributes[name] for name in FINGERPRINT_ATTRIBUTES if name in attributes}
    text = json.dumps([variant, patches, relevant], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
