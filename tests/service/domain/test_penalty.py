import pytest

from service.domain.catalogue import Component
from service.domain.decisions import Delivery
from service.domain.penalty import circumstances
from tests.service.domain.lines import digest, patch

FULL = Delivery(Component("weights", "w.bin", digest("w2"), 1000), keep=False)
PATCHED = Delivery(FULL.component, keep=False, patches=(patch("w1", "w2"),))
PHONE = {"app_version": "5.2", "os": "android-16", "soc": "x", "battery": 80, "free_mb": 900}
NOW = circumstances("int8", [FULL], PHONE)


@pytest.mark.parametrize(
    "changed",
    [
        circumstances("int4", [FULL], PHONE),
        circumstances("int8", [PATCHED], PHONE),
        circumstances("int8", [FULL], PHONE | {"app_version": "5.3"}),
        circumstances("int8", [FULL], PHONE | {"os": "android-17"}),
        circumstances("int8", [FULL], {}),
    ],
)
def test_another_build_patch_app_or_system_is_a_reason_to_try_again(changed):
    assert changed != NOW


def test_what_changes_all_day_is_not():
    assert circumstances("int8", [FULL], PHONE | {"battery": 5, "free_mb": 1, "new": True}) == NOW
