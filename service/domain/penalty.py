"""Which failures of a version count against a device: those under the circumstances that it is still in.

A device that failed a version some times is left alone until something changes: a new version, another build or
patch, another app, system or runtime on the device, or an operator who forgives. What changes all day (battery,
free space, the network) is no new circumstance, or nobody would ever be left alone.
"""

import hashlib
import json
from collections.abc import Sequence

from service.domain.cohorts import Attributes
from service.domain.decisions import Delivery

TELLING = ("app_version", "os", "os_version", "ram_mb", "runtime", "runtime_version", "sdk_version", "soc")
"""Attributes whose change is a reason to try again."""


def circumstances(variant: str, deliveries: Sequence[Delivery], attributes: Attributes) -> str:
    """A digest, 16 hex digits, that changes with everything that may make the next try end differently."""
    ways = {
        delivery.component.sha256: [patch.sha256 for patch in delivery.patches] for delivery in deliveries
    }
    told = {name: attributes[name] for name in TELLING if name in attributes}
    text = json.dumps([variant, ways, told], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
