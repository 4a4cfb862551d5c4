import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.delta.layouts.writers import (
    Bytes,
    Sparse,
    gguf,
    gguf_header,
    gguf_pair,
    gguf_record,
    gguf_string,
)
from workers.delta.layouts import Layout, MalformedFile, Tensor, read_layout
from workers.delta.layouts.formats import ggml

U8, U32, BOOL, STRING, ARRAY, U64 = 0, 4, 7, 8, 9, 10


def error_of(raw):
    with pytest.raises(MalformedFile) as caught:
        read_layout(raw if isinstance(raw, Sparse) else Bytes(raw))
    assert caught.value.format == "gguf"
    return caught.value


def name_pair(text="tiny"):
    return gguf_pair("general.name", STRING, gguf_string(text))


def array(kind, count, items=b""):
    return struct.pack("<IQ", kind, count) + items


@pytest.mark.parametrize("version", [2, 3])
def test_tensors_are_found_with_their_shape_slowest_dimension_first(version):
    raw = gguf({"w": (2, (32, 3), bytes(54)), "b": (0, (3,), b"abcdefghijkl")}, [name_pair()], version)
    layout = read_layout(Bytes(raw))
    data = len(raw) - 12 - 64
    assert layout == Layout(
        "gguf",
        len(raw),
        (Tensor("w", "ggml:q4_0", (3, 32), data, 54), Tensor("b", "f32", (3,), data + 64, 12)),
        {"version": str(version), "general.name": "tiny"},
    )
    assert raw[layout.tensors[1].offset :] == b"abcdefghijkl"


@pytest.mark.parametrize("number", sorted(ggml.TYPES))
def test_every_block_type_is_known_with_its_size(number):
    block = ggml.TYPES[number]
    (tensor,) = read_layout(
        Bytes(gguf({"w": (number, (block.weights * 2, 3), bytes(block.size * 6))}))
    ).tensors
    assert (tensor.dtype, tensor.size) == (block.dtype, block.size * 6)


def test_a_tensor_of_unknown_type_is_bytes_up_to_the_next_tensor():
    raw = gguf({"a": (99, (7,), bytes(40)), "b": (0, (1,), bytes(4)), "c": (99, (7,), bytes(9))})
    sizes = [(tensor.dtype, tensor.shape, tensor.size) for tensor in read_layout(Bytes(raw)).tensors]
    assert sizes == [("bytes", (64,), 64), ("f32", (1,), 4), ("bytes", (9,), 9)]


def test_values_of_every_type_are_skipped_correctly():
    strings = array(STRING, 3, gguf_string("a") + gguf_string("") + gguf_string("bc"))
    pairs = [
        gguf_pair("flag", BOOL, b"\x01"),
        gguf_pair("tokens", ARRAY, strings),
        gguf_pair("nested", ARRAY, array(ARRAY, 2, array(U8, 3, b"xyz") + array(U64, 0))),
        gguf_pair("template", STRING, gguf_string("t" * 100_000)),
        gguf_pair("general.alignment", U32, struct.pack("<I", 64)),
        name_pair(),
    ]
    layout = read_layout(Bytes(gguf({"w": (24, (5,), b"12345")}, pairs, alignment=64)))
    assert layout.metadata["general.name"] == "tiny"
    assert layout.tensors[0].offset % 64 == 0
    assert layout.tensors[0].offset + 5 == layout.size


def test_a_file_with_a_vocabulary_and_no_tensors_is_valid():
    assert read_layout(Bytes(gguf({}, [name_pair()]))).tensors == ()


def test_a_long_vocabulary_needs_few_reads():
    tokens = b"".join(gguf_string(f"token{number}") for number in range(50_000))
    reader = Bytes(gguf({}, [gguf_pair("tokens", ARRAY, array(STRING, 50_000, tokens))]))
    read_layout(reader)
    assert reader.reads < 10
    assert reader.taken < 2 * reader.size


@pytest.mark.parametrize(
    "head",
    [
        gguf_header(1 << 40, 0),
        gguf_header((1 << 64) - 1, 0),
        gguf_header(0, 1 << 40),
        gguf_header(0, 1) + gguf_pair("k", ARRAY, array(STRING, 1 << 40)),
        gguf_header(0, 1) + gguf_pair("k", ARRAY, array(U64, (1 << 61) + 1)),
        gguf_header(0, 1) + gguf_pair("k", ARRAY, array(ARRAY, 1 << 40)),
    ],
)
def test_a_count_that_cannot_fit_is_refused_before_any_loop(head):
    reader = Sparse(head, len(head) + 4096)
    assert error_of(reader).code == "count_too_large"
    assert reader.taken < 30_000


def test_more_than_a_million_tensors_are_refused_in_a_huge_file():
    assert error_of(Sparse(gguf_header(1_000_001, 0), 1 << 40)).code == "count_too_large"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"GGUF", "truncated"),
        (gguf_header(0, 0)[:20], "truncated"),
        (gguf_header(0, 0, 1), "unknown_version"),
        (gguf_header(0, 0, 4), "unknown_version"),
        (gguf_header(0, 0, 3 << 24), "big_endian"),
        (gguf_header(0, 1) + gguf_pair("k", 13, bytes(9)), "unknown_value_type"),
        (gguf_header(0, 1) + gguf_pair("k", ARRAY, array(13, 0)), "unknown_value_type"),
        (gguf_header(0, 1) + gguf_pair("k", STRING, struct.pack("<Q", (1 << 64) - 1)), "truncated"),
        (gguf_header(0, 1) + struct.pack("<Q", 1 << 63) + bytes(40), "bad_key"),
        (gguf_header(0, 2) + name_pair() + name_pair(), "duplicate_key"),
        (gguf_header(0, 1) + gguf_pair("general.alignment", U64, bytes(8)), "bad_alignment"),
        (gguf_header(0, 1) + gguf_pair("general.alignment", U32, bytes(4)), "bad_alignment"),
        (gguf_header(0, 1) + gguf_pair("general.alignment", U32, struct.pack("<I", 24)), "bad_alignment"),
        (
            gguf_header(0, 1) + gguf_pair("general.alignment", U32, struct.pack("<I", 1 << 31)),
            "bad_alignment",
        ),
        (gguf_header(1, 0) + struct.pack("<Q", 1 << 62) + bytes(40), "bad_name"),
        (gguf_header(1, 0) + gguf_record(b"\xff", (1,), 0, 0) + bytes(40), "bad_name"),
        (gguf_header(1, 0) + gguf_record("w", (1,) * 5, 0, 0) + bytes(40), "too_many_dimensions"),
        (
            gguf_header(1, 0) + gguf_string("w") + struct.pack("<I", (1 << 32) - 1) + bytes(40),
            "too_many_dimensions",
        ),
        (gguf_header(1, 0) + gguf_record("w", (1,), 0, 8) + bytes(40), "misaligned"),
        (gguf_header(1, 0) + gguf_record("w", (1,), 1 << 31, 0) + bytes(40), "unknown_dtype"),
        (gguf_header(1, 0) + gguf_record("w", (31,), 2, 0) + bytes(40), "size_mismatch"),
        (gguf_header(1, 0) + gguf_record("w", (1 << 32, 1 << 32), 0, 0) + bytes(40), "truncated"),
        (gguf_header(1, 0) + gguf_record("w", (1,), 0, (1 << 64) - 32) + bytes(40), "truncated"),
        (
            gguf_header(2, 0) + gguf_record("w", (9,), 0, 0) + gguf_record("v", (1,), 0, 32) + bytes(80),
            "tensors_overlap",
        ),
        (
            gguf_header(2, 0) + gguf_record("w", (1,), 0, 0) + gguf_record("w", (1,), 0, 32) + bytes(80),
            "duplicate_name",
        ),
    ],
)
def test_a_malformed_header_is_refused_with_a_code(raw, code):
    assert error_of(raw).code == code


def test_the_nesting_depth_of_arrays_is_limited():
    value = array(U8, 0)
    for _ in range(5000):
        value = array(ARRAY, 1, value)
    assert error_of(gguf_header(0, 1) + gguf_pair("k", ARRAY, value)).code == "nested_too_deep"


def test_the_error_for_truncated_tensors_has_the_numbers():
    error = error_of(gguf({"blk.0.w": (2, (32, 3), bytes(54))})[:-1])
    assert error.code == "truncated"
    assert "'blk.0.w'" in error.detail
    assert "54 bytes" in error.detail


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
        st.tuples(st.sampled_from(sorted(ggml.TYPES)), st.integers(0, 2), st.integers(0, 3)),
        max_size=6,
    )
)
@settings(max_examples=60, deadline=None)
def test_any_written_tensors_are_read_back(shapes):
    tensors = {}
    for name, (number, blocks, rows) in shapes.items():
        block = ggml.TYPES[number]
        tensors[name] = (number, (block.weights * blocks, rows), bytes(block.size * blocks * rows))
    layout = read_layout(Bytes(gguf(tensors)))
    found = {tensor.name: (tensor.dtype, tensor.shape[::-1], tensor.size) for tensor in layout.tensors}
    assert found == {
        name: (ggml.TYPES[kind].dtype, dims, len(raw)) for name, (kind, dims, raw) in tensors.items()
    }
