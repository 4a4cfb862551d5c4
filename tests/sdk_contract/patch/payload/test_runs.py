"""Runs: every coding restores every number."""

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from sdk_contract.patch.errors import PatchCorrupt, PatchUnsupported
from sdk_contract.patch.payload.cursor import Cursor
from sdk_contract.patch.payload.runs import read_run
from workers.delta.encoding.run_coding import encode_run

DTYPES = ["<u1", "<u2", "<u4"]


def cursor(data: bytes) -> Cursor:
    return Cursor(data, zstandard.ZstdDecompressor())


def decoded(data: bytes, count: int, dtype: str) -> np.ndarray:
    at = cursor(data)
    run = read_run(at, count, np.dtype(dtype))
    assert at.remaining == 0
    return run.dense()


def distribution(kind: str, count: int, dtype: str) -> np.ndarray:
    rng = np.random.default_rng(count)
    top = np.iinfo(dtype).max
    made = {
        "zeros": np.zeros(count),
        "extremes": np.full(count, top),
        "alternating": np.arange(count) % 2 * top,
        "counting": np.arange(count) % (top + 1),
        "one at the end": np.arange(count) == count - 1,
        "rare": rng.random(count) < 0.001,
        "sparse": (rng.random(count) < 0.05) * rng.integers(1, 9, count),
        "half": rng.integers(0, 2, count),
        "skewed": rng.geometric(0.3, count) - 1,
        "noise": rng.integers(0, top, count, endpoint=True),
        "steps": rng.choice([0, 0, 8, 16, top], count),
        "idle low bits": rng.integers(0, top // 64 + 1, count) * 32,
        "wide": np.minimum(rng.exponential(500, count), top),
    }
    numbers: np.ndarray = made[kind].astype(dtype)
    return numbers


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 7, 8, 15, 17, 1000, 70_001])
@pytest.mark.parametrize(
    "kind",
    [
        "zeros",
        "extremes",
        "alternating",
        "counting",
        "one at the end",
        "rare",
        "sparse",
        "half",
        "skewed",
        "noise",
        "steps",
        "idle low bits",
        "wide",
    ],
)
def test_every_distribution_of_numbers_is_restored(kind, count, dtype):
    values = distribution(kind, count, dtype)
    np.testing.assert_array_equal(decoded(encode_run(values), count, dtype), values)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 2**32 - 1), max_size=300), st.sampled_from(DTYPES))
def test_random_numbers_are_restored(numbers, dtype):
    values = np.array(numbers, np.uint64).astype(dtype)
    np.testing.assert_array_equal(decoded(encode_run(values), len(values), dtype), values)


@pytest.mark.parametrize("density", [0.001, 0.01, 0.1, 0.3])
def test_a_sparse_run_is_little_larger_than_its_entropy(density):
    rng = np.random.default_rng(3)
    values = ((rng.random(1 << 19) < density) * rng.integers(1, 3, 1 << 19)).astype("<u1")
    _, counts = np.unique(values, return_counts=True)
    share = counts / counts.sum()
    entropy = -(share * np.log2(share)).sum() * len(values) / 8
    assert len(encode_run(values)) < 1.03 * entropy + 64


def test_an_unknown_mode_is_unsupported():
    with pytest.raises(PatchUnsupported, match="patch_unsupported: run mode 119"):
        read_run(cursor(b"\x77"), 5, np.dtype("<u1"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the payload ends where a byte is expected"),
        (b"\x01\x00abc", "3 bytes left"),  # plain, four bytes too short
        (b"\x02\x03\x00\x00", "packing 3, shift 0"),  # three symbols per byte
        (b"\x02\x01\x08\x00", "packing 1, shift 8"),  # a shift as wide as the number
        (b"\x03\x09", "a run has more values than positions"),  # more values than positions
        (
            b"\x03\x01\x01\x00\x08\x00\x00\x00\x00",
            "a value is beyond the end of its run",
        ),  # a position after the end
        (b"\x04\x08\x00", "shift 8"),  # all bits shifted out
        (b"\x04\x01\x04\x01\x04\x01\x04\x01\x04\x01\x00", "runs are nested too deep"),  # nested too deep
    ],
)
def test_invalid_runs_are_corrupt(data, message):
    with pytest.raises(PatchCorrupt, match=message):
        read_run(cursor(data), 8, np.dtype("<u1"))


@pytest.mark.parametrize(
    ("dtype", "largest"), [("<u1", 15), ("<u1", 255), ("<u2", 65535), ("<u4", 2**32 - 1)]
)
def test_numbers_missed_by_the_sample_cost_no_more_than_plain_ones(dtype, largest):
    rng = np.random.default_rng(21)
    values = rng.integers(0, largest, 1 << 20, endpoint=True).astype(dtype)
    values[::256] = 0
    data = encode_run(values)
    bits = 4 if largest == 15 else 8 * values.dtype.itemsize
    assert len(data) <= len(values) * bits // 8 + 64
    np.testing.assert_array_equal(decoded(data, len(values), dtype), values)
