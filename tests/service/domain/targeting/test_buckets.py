import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.targeting.buckets import (
    BUCKETS,
    admits,
    bucket,
    buckets_within,
    in_percent,
    rollout_salt,
)

DEVICES = st.text(min_size=1, max_size=40)
SALTS = st.text(max_size=32)
PERCENTS = st.integers(1, BUCKETS).map(lambda hundredths: hundredths / 100)


def test_the_bucket_is_computed_as_in_the_contract():
    digest = hashlib.sha256(b"salt\x00dev_12345").digest()
    assert bucket("salt", "dev_12345") == int.from_bytes(digest[:8], "big") % 10_000


def test_the_bucket_of_a_device_never_changes():
    assert [bucket("s", f"dev_{n}") for n in range(4)] == [888, 6034, 3898, 6052]


@given(SALTS, DEVICES)
@settings(deadline=None)
def test_a_bucket_is_one_of_ten_thousand(salt, device):
    assert 0 <= bucket(salt, device) < BUCKETS


@given(SALTS, DEVICES, PERCENTS, PERCENTS)
@settings(deadline=None)
def test_widening_never_drops_a_device(salt, device, one, other):
    narrow, wide = sorted((one, other))
    assert in_percent(salt, device, narrow) <= in_percent(salt, device, wide)


@given(SALTS, DEVICES)
@settings(deadline=None)
def test_a_hundred_percent_includes_every_device(salt, device):
    assert in_percent(salt, device, 100)


@given(st.integers(0, BUCKETS))
@settings(deadline=None)
def test_a_percentage_includes_exactly_its_share_of_the_buckets(hundredths):
    share = hundredths / 100
    assert admits(share, hundredths - 1)
    assert not admits(share, hundredths)


def test_a_hundredth_of_a_percent_is_one_bucket():
    assert [place for place in range(BUCKETS) if admits(0.01, place)] == [0]


@pytest.mark.parametrize("percent", [0.07, 1.1, 2.2, 0.57, 33.35])
def test_rounding_errors_admit_no_extra_bucket(percent):
    assert sum(admits(percent, place) for place in range(BUCKETS)) == round(percent * 100)


def test_ten_percent_of_many_devices_are_about_a_tenth():
    assert 900 < sum(in_percent("salt", f"device-{n}", 10) for n in range(10_000)) < 1100


def test_two_rollouts_start_with_different_devices():
    first = {n for n in range(2000) if in_percent("a", f"d{n}", 10)}
    second = {n for n in range(2000) if in_percent("b", f"d{n}", 10)}
    assert len(first & second) < len(first) / 2


@given(st.floats(0.01, 100), st.text("abc", min_size=1))
def test_buckets_are_counted_as_devices_are_admitted(percent, device):
    place = bucket("salt", device)
    assert (place < buckets_within(percent)) == admits(percent, place)


def test_the_salt_depends_on_the_name_alone():
    assert rollout_salt("autumn") == rollout_salt("autumn") != rollout_salt("spring")
