"""Families `bucket`, `semver` and `jitter`."""

import hashlib

from tests.sdk_contract.vectors.generator.case import make_case


def buckets():
    pairs = [
        ("salt", "dev-1"),
        ("salt", "dev-2"),
        ("other", "dev-1"),
        ("", "dev-1"),
        ("salt\0dev", "1"),
        ("salt", "dev_12345"),
        ("rollout-2026-11", "a" * 128),
        ("ünïcode-🪿", "dev-1"),
        ("salt", "DEV-1"),
        ("0" * 64, "0"),
    ]
    for number, (salt, device) in enumerate(pairs, 1):
        # Computed as the README describes it, not with the code under test.
        value = int(hashlib.sha256(salt.encode() + b"\x00" + device.encode()).hexdigest()[:16], 16) % 10_000
        inputs = {"salt": salt, "device_id": device}
        percents = {"0": False, str(value / 100): False, str((value + 1) / 100): True, "100": True}
        yield make_case(
            f"bucket.{number:02}",
            "first 8 bytes of SHA-256(salt, 00, device id), big-endian, modulo 10000",
            inputs,
            {"bucket": value, "in_percent": percents},
        )


RANGES = {
    ">=5.2": ({"5.2", "5.2.0", "5.10", "6", "5.2.1-rc1", "v5.3"}, {"5.1.9", "5.2.0-rc1", "4"}),
    "<2": ({"1.9.9", "2.0.0-rc1", "0"}, {"2", "2.0.1"}),
    ">1.2.3": ({"1.2.4", "1.3.0-a"}, {"1.2.3", "1.2.3-a", "1.2.3+build"}),
    "<=1.2": ({"1.2.0", "1.1.9", "1.2.0-z"}, {"1.2.1"}),
    "=1.4.2": ({"1.4.2", "1.4.2+build.7"}, {"1.4.3", "1.4.2-rc1"}),
    "1.4": ({"1.4.0", "1.4.9"}, {"1.5.0", "1.3.9"}),
    "1.x": ({"1.0", "1.99"}, {"2.0", "0.9"}),
    "*": ({"0.0.1", "99"}, set()),
    "^1.4": ({"1.4.0", "1.9.9"}, {"1.3.9", "2.0.0"}),
    "^0.3.1": ({"0.3.1", "0.3.9"}, {"0.4.0", "0.3.0"}),
    "^0.0.3": ({"0.0.3"}, {"0.0.4", "0.0.2"}),
    "~2.0.3": ({"2.0.3", "2.0.99"}, {"2.1.0", "2.0.2"}),
    "~2": ({"2.0.0", "2.9"}, {"3.0.0"}),
    ">=1.2 <2": ({"1.2", "1.9"}, {"1.1", "2.0"}),
    "1.x || >=3": ({"1.5", "3.0", "4"}, {"2.0"}),
    ">=1.0.0-alpha.2": (
        {"1.0.0-alpha.10", "1.0.0-beta", "1.0.0", "1.0.0-alpha.2"},
        {"1.0.0-alpha.1", "1.0.0-2"},
    ),
}


def semvers():
    for text, (inside, outside) in RANGES.items():
        for version in sorted(inside | outside):
            inputs = {"range": text, "version": version}
            yield make_case(
                f"semver.{version}-in-{text}",
                f"is {version} in {text}?",
                inputs,
                {"match": version in inside},
            )
    for text in ("", "||", ">=", "abc", ">=1.2.3.4", "1.2 ||", "=>1", ">= 1.x.y.z"):
        yield make_case(
            f"semver.range-{text or 'empty'}",
            "not a version range",
            {"range": text, "version": "1.0"},
            "invalid_rule",
        )
    for version in ("", "one", "1.2.3.4", "-1", "1.0.0-ä", "9999999999"):
        yield make_case(
            f"semver.version-{version or 'empty'}",
            "an invalid version matches nothing",
            {"range": ">=0", "version": version},
            {"match": False},
        )


def delays_after_start():
    """Inputs, shortest and longest delay in seconds, comment."""
    return [
        ({"next_poll_s": 3600}, 0, 360, "zero to a tenth of the period"),
        ({"next_poll_s": 86400}, 0, 600, "at most ten minutes"),
        ({"next_poll_s": 0}, 0, 600, "six hours if no time was given"),
        ({"next_poll_s": 60}, 0, 6, "a short period"),
    ]


def delays_after_success():
    return [
        ({"next_poll_s": 3600}, 3600, 4320, "never sooner than asked, up to a fifth later"),
        ({"next_poll_s": 60}, 60, 72, "a short period"),
        ({"next_poll_s": 604800}, 86400, 103680, "at least once a day"),
        ({"next_poll_s": 0}, 21600, 25920, "six hours if no time was given"),
    ]


def delays_after_failure():
    return [
        ({"next_poll_s": 3600, "previous_s": 0}, 30, 30, "the first failure: the base delay"),
        (
            {"next_poll_s": 3600, "previous_s": 30},
            30,
            90,
            "decorrelated: base delay to three times the last",
        ),
        (
            {"next_poll_s": 3600, "previous_s": 1000},
            30,
            3000,
            "a larger last delay gives a wider range",
        ),
        ({"next_poll_s": 3600, "previous_s": 21600}, 30, 21600, "six hours at most"),
        (
            {"next_poll_s": 3600, "previous_s": 30, "retry_after_s": 600},
            600,
            600,
            "Retry-After is respected",
        ),
        (
            {"next_poll_s": 3600, "previous_s": 21600, "retry_after_s": 86400},
            86400,
            86400,
            "Retry-After above the cap",
        ),
        (
            {"next_poll_s": 3600, "previous_s": 400, "retry_after_s": 60},
            60,
            1200,
            "Retry-After never shortens the delay",
        ),
    ]


def jitters():
    table = [
        *(("start", *row) for row in delays_after_start()),
        *(("success", *row) for row in delays_after_success()),
        *(("failure", *row) for row in delays_after_failure()),
    ]
    for number, (after, inputs, low, high, comment) in enumerate(table, 1):
        yield make_case(
            f"jitter.{number:02}-after-{after}",
            comment,
            {"after": after, **inputs},
            {"min_s": low, "max_s": high},
        )
