import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.targeting.device_classes import (
    MAX_DEVICE_CLASSES,
    OTHER,
    device_class_of,
    effective_class,
    paused_classes,
)

VALUES = st.one_of(st.text(), st.integers(), st.floats(), st.booleans())


@pytest.mark.parametrize(
    ("attributes", "device_class"),
    [
        ({}, ""),
        ({"region": "cn-east"}, ""),
        ({"soc": "SM8650"}, "soc=sm8650"),
        (
            {"soc": "sm8650", "ram_mb": 7600, "os": "android", "os_version": "14.1", "app_version": "5.2.1"},
            "soc=sm8650,ram=8g,os=android-14,app=5.2",
        ),
        ({"os": "android-14"}, "os=android-14"),
        ({"os_version": "14"}, ""),
        ({"soc": "a,b=c; d"}, "soc=a-b-c-d"),
        ({"soc": None, "ram_mb": "8192", "app_version": 5}, "app=5"),
    ],
)
def test_a_device_class_is_made_of_four_attributes(attributes, device_class):
    assert device_class_of(attributes) == device_class


@pytest.mark.parametrize(
    ("ram_mb", "size"),
    [(1, "2g"), (3700, "4g"), (4096, "4g"), (4097, "6g"), (11_500, "12g"), (65_536, "32g+")],
)
def test_memory_is_rounded_up_to_its_nominal_size(ram_mb, size):
    assert device_class_of({"ram_mb": ram_mb}) == f"ram={size}"


@pytest.mark.parametrize("ram_mb", [0, -1, True, float("nan"), "much"])
def test_invalid_memory_is_left_out(ram_mb):
    assert device_class_of({"ram_mb": ram_mb}) == ""


@given(st.dictionaries(st.sampled_from(["soc", "ram_mb", "os", "os_version", "app_version"]), VALUES))
def test_a_device_class_is_short_and_plain_whatever_a_device_reports(attributes):
    found = device_class_of(attributes)
    assert len(found) <= 120
    assert found == found.encode("ascii").decode().strip()
    assert not set(found) & set("/?#&%'\" ")


def test_classes_beyond_the_limit_are_counted_together():
    known = {f"soc={number}" for number in range(MAX_DEVICE_CLASSES)}
    assert effective_class("soc=1", known) == "soc=1"
    assert effective_class("soc=new", known) == OTHER
    assert effective_class("soc=new", known - {"soc=1"}) == "soc=new"


def test_a_resumed_class_is_not_paused():
    assert paused_classes([{"device_class": "a"}, {"device_class": "b", "resumed_at": "2026-11-20"}]) == {"a"}
