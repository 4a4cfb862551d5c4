import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.strata import MAX_STRATA, OTHER, held_strata, settled, stratum_of

VALUES = st.one_of(st.text(), st.integers(), st.floats(), st.booleans())


@pytest.mark.parametrize(
    ("attributes", "stratum"),
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
def test_the_class_of_a_device_is_made_of_four_attributes(attributes, stratum):
    assert stratum_of(attributes) == stratum


@pytest.mark.parametrize(
    ("ram_mb", "size"),
    [(1, "2g"), (3700, "4g"), (4096, "4g"), (4097, "6g"), (11_500, "12g"), (65_536, "32g+")],
)
def test_memory_is_rounded_up_to_what_is_printed_on_the_box(ram_mb, size):
    assert stratum_of({"ram_mb": ram_mb}) == f"ram={size}"


@pytest.mark.parametrize("ram_mb", [0, -1, True, float("nan"), "much"])
def test_memory_that_makes_no_sense_is_left_out(ram_mb):
    assert stratum_of({"ram_mb": ram_mb}) == ""


@given(st.dictionaries(st.sampled_from(["soc", "ram_mb", "os", "os_version", "app_version"]), VALUES))
def test_whatever_a_device_says_its_class_is_short_and_plain(attributes):
    found = stratum_of(attributes)
    assert len(found) <= 120
    assert found == found.encode("ascii").decode().strip()
    assert not set(found) & set("/?#&%'\" ")


def test_past_the_bound_new_classes_are_counted_together():
    known = {f"soc={number}" for number in range(MAX_STRATA)}
    assert settled("soc=1", known) == "soc=1"
    assert settled("soc=new", known) == OTHER
    assert settled("soc=new", known - {"soc=1"}) == "soc=new"


def test_what_was_released_is_held_no_more():
    assert held_strata([{"stratum": "a"}, {"stratum": "b", "released_at": "2026-11-20"}]) == {"a"}
