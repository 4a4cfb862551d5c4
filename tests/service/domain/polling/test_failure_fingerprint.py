import pytest

from service.domain.catalog import Component
from service.domain.polling.decisions import Delivery
from service.domain.polling.failure_fingerprint import failure_fingerprint
from tests.service.domain.builders import digest, patch

FULL = Delivery(Component("weights", "w.bin", digest("w2"), 1000), keep=False)
PATCHED = Delivery(FULL.component, keep=False, patches=(patch("w1", "w2"),))
PHONE = {"app_version": "5.2", "os": "android-16", "soc": "x", "battery": 80, "free_mb": 900}
FINGERPRINT = failure_fingerprint("int8", [FULL], PHONE)


@pytest.mark.parametrize(
    "changed",
    [
        failure_fingerprint("int4", [FULL], PHONE),
        failure_fingerprint("int8", [PATCHED], PHONE),
        failure_fingerprint("int8", [FULL], PHONE | {"app_version": "5.3"}),
        failure_fingerprint("int8", [FULL], PHONE | {"os": "android-17"}),
        failure_fingerprint("int8", [FULL], {}),
    ],
)
def test_another_variant_patch_app_or_system_changes_the_fingerprint(changed):
    assert changed != FINGERPRINT


def test_battery_and_free_space_do_not_change_the_fingerprint():
    assert (
        failure_fingerprint("int8", [FULL], PHONE | {"battery": 5, "free_mb": 1, "new": True}) == FINGERPRINT
    )
