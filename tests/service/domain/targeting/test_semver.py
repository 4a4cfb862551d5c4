from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.targeting.semver import Version, compile_range

SPEC_ORDER = [
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "2.0.0",
    "2.1.0",
    "2.1.1",
]
"""Semantic Versioning 2.0.0, section 11, from low to high."""

VERSIONS = st.builds(
    lambda release, pre: ".".join(map(str, release)) + (f"-{'.'.join(pre)}" if pre else ""),
    st.tuples(*[st.integers(0, 12)] * 3),
    st.lists(st.sampled_from(["alpha", "beta", "rc", "0", "1", "11", "x1"]), max_size=2),
)


def admits(text, version):
    return compile_range(text)(Version(version))


@pytest.mark.parametrize(("lower", "higher"), list(pairwise(SPEC_ORDER)))
def test_precedence_follows_the_specification(lower, higher):
    assert Version(lower) < Version(higher)
    assert not Version(higher) < Version(lower)
    assert Version(lower) != Version(higher)


def test_numbers_in_a_prerelease_are_below_words():
    assert Version("1.0.0-999") < Version("1.0.0-a")


def test_build_metadata_does_not_count():
    assert Version("1.2.3+left") == Version("1.2.3+right")
    assert hash(Version("1.2.3+left")) == hash(Version("1.2.3"))


def test_missing_parts_are_zero():
    assert Version("5.2") == Version("5.2.0")
    assert Version("v5") == Version("5.0.0")


def test_parts_are_compared_as_numbers_and_not_as_text():
    assert Version("1.9.0") < Version("1.10.0")


@pytest.mark.parametrize(
    "text", ["", "x", "1.", ".1", "1.2.3.4", "1..2", "-1", "1.2.3-", "1,2", "٣.١", "9" * 10, "1.2\n3"]
)
def test_a_text_that_is_not_a_version_is_refused(text):
    with pytest.raises(ValueError, match="is not a version"):
        Version(text)


def test_a_version_is_not_equal_to_its_text():
    assert Version("1.0.0") != "1.0.0"


@given(VERSIONS, VERSIONS, VERSIONS)
@settings(deadline=None)
def test_versions_are_totally_ordered(first, second, third):
    low, middle, high = sorted(map(Version, (first, second, third)))
    assert low <= middle <= high
    assert low <= high
    assert sum([low < high, low == high, low > high]) == 1


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (">=5.2", ["5.2", "5.2.1", "6.0"], ["5.1.9", "5.2.0-rc.1"]),
        (">5.2", ["5.2.1"], ["5.2.0"]),
        ("<2", ["1.9.9", "2.0.0-beta"], ["2.0.0"]),
        ("<=2.1", ["2.1.0"], ["2.1.1"]),
        ("=1.4.2", ["1.4.2"], ["1.4.3"]),
        ("1.4.2", ["1.4.2", "1.4.2+build"], ["1.4.3", "1.4.2-rc"]),
        ("1.4", ["1.4.0", "1.4.9"], ["1.5.0", "1.3.9"]),
        ("1", ["1.0.0", "1.9.9"], ["2.0.0", "2.0.0-alpha"]),
        ("1.x", ["1.0.0", "1.9"], ["2.0"]),
        ("1.4.*", ["1.4.7"], ["1.5"]),
        ("*", ["0.0.0", "99.1"], []),
        ("^1.4", ["1.4.0", "1.9"], ["1.3.9", "2.0.0", "2.0.0-alpha"]),
        ("^0.3.1", ["0.3.1", "0.3.9"], ["0.4.0", "0.3.0"]),
        ("^0.0.3", ["0.0.3"], ["0.0.4"]),
        ("^0", ["0.9.9"], ["1.0.0"]),
        ("^0.0", ["0.0.9"], ["0.1.0"]),
        ("~2.0.3", ["2.0.3", "2.0.9"], ["2.1.0", "2.0.2"]),
        ("~2", ["2.9"], ["3.0"]),
        (">=1.2 <2", ["1.2", "1.99"], ["2.0", "1.1"]),
        ("1.x || >=3", ["1.5", "3.0", "9"], ["2.5", "0.9"]),
        ("1.2.3-rc.1", ["1.2.3-rc.1"], ["1.2.3", "1.2.3-rc.2"]),
        (">=1.0.0-x.y", ["1.0.0-x.y", "1.0.0"], ["1.0.0-x.a"]),
    ],
)
def test_a_range_includes_its_versions(text, inside, outside):
    assert all(admits(text, version) for version in inside)
    assert not any(admits(text, version) for version in outside)


@pytest.mark.parametrize(
    "text", ["", "   ", "||", "1 ||", ">=", ">= 5.2", "=>1", "five", "1.*.2", "1.x5", "1.2.3.4", "^", "*-rc"]
)
def test_an_invalid_range_is_refused(text):
    with pytest.raises(ValueError, match=r"version"):
        compile_range(text)


@given(VERSIONS)
@settings(deadline=None)
def test_a_version_is_in_the_range_with_its_own_name(text):
    assert admits(text, text)


@given(VERSIONS, VERSIONS)
@settings(deadline=None)
def test_every_version_is_either_at_least_or_below_a_bound(bound, version):
    assert admits(f">={bound}", version) != admits(f"<{bound}", version)
