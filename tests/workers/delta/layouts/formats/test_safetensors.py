import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.delta.layouts.writers import Bytes, Sparse, safetensors, safetensors_header
from workers.delta.layouts import Layout, MalformedFile, Tensor, read_layout
from workers.delta.layouts.formats.safetensors import DTYPES
from workers.delta.layouts.validation import packed_size


def entry(dtype="U8", shape=(4,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def error_of(raw):
    with pytest.raises(MalformedFile) as caught:
        read_layout(Bytes(raw))
    assert caught.value.format == "safetensors"
    return caught.value


def test_tensors_are_found_at_their_offsets():
    raw = safetensors(
        {"w": ("BF16", (2, 3), bytes(range(12))), "b": ("F32", (1,), b"abcd")}, {"format": "pt"}
    )
    layout = read_layout(Bytes(raw))
    data = len(raw) - 16
    assert layout == Layout(
        "safetensors",
        len(raw),
        (Tensor("w", "bf16", (2, 3), data, 12), Tensor("b", "f32", (1,), data + 12, 4)),
        {"format": "pt"},
    )
    assert raw[layout.tensors[0].offset :][:12] == bytes(range(12))


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_dtype_of_the_format_has_its_width(dtype):
    shape = (4, 2)
    raw = bytes(packed_size(DTYPES[dtype], shape))
    (tensor,) = read_layout(Bytes(safetensors({"w": (dtype, shape, raw)}))).tensors
    assert (tensor.dtype, tensor.shape, tensor.size) == (dtype.lower(), shape, len(raw))


def test_files_without_tensors_and_empty_tensors_are_valid():
    assert read_layout(Bytes(safetensors_header(b"{}"))).tensors == ()
    raw = safetensors({"a": ("F32", (0, 3), b""), "b": ("U8", (1,), b"x"), "c": ("I64", (2, 0), b"")})
    assert {tensor.name: tensor.size for tensor in read_layout(Bytes(raw)).tensors} == {
        "a": 0,
        "b": 1,
        "c": 0,
    }


def test_names_and_metadata_can_be_any_json_string():
    raw = safetensors_header(
        b'{ "__metadata__" : {"k":"}\\"{,"} ,\n"\\u00e9\\"}" : {"shape":[],"data_offsets":[0,1],"dtype":"U8"} } ',
        b"x",
    )
    layout = read_layout(Bytes(raw))
    assert [tensor.name for tensor in layout.tensors] == ['é"}']
    assert layout.metadata == {"k": '}"{,'}


def test_only_the_header_is_read():
    reader = Sparse(safetensors_header({"w": entry("U8", (1 << 40,), (0, 1 << 40))}), 0)
    reader.size = len(reader.head) + (1 << 40)
    assert read_layout(reader).tensors[0].size == 1 << 40
    assert reader.taken < 10_000


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1, 100_000_001])
def test_a_header_above_the_limit_is_refused_before_it_is_read(length):
    body = json.dumps({"w": entry()}).encode()
    reader = Bytes(struct.pack("<Q", length) + body)
    with pytest.raises(MalformedFile) as caught:
        read_layout(reader)
    assert (caught.value.format, caught.value.code) == ("safetensors", "header_too_long")
    assert str(length) in caught.value.detail
    assert reader.taken < 10_000


def test_a_file_truncated_anywhere_is_refused_as_truncated():
    raw = safetensors({"w": ("U8", (64,), bytes(64)), "v": ("U8", (8,), bytes(8))})
    assert error_of(raw[:-70]).code == "truncated"
    assert error_of(raw[:-1]).code == "truncated"
    assert error_of(raw[:40]).code == "truncated"
    assert error_of(raw[:20]).code == "truncated"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"a": entry(), "b": entry(offsets=(2, 6))}, "tensors_overlap"),
        ({"a": entry(), "b": entry()}, "tensors_overlap"),
        ({"a": entry(), "b": entry(offsets=(8, 12))}, "hole"),
        ({"a": entry(offsets=(4, 8))}, "hole"),
        ({"a": entry()}, "hole"),
        ({}, "hole"),
        ({"a": entry(shape=(12,), offsets=(0, 12)), "z": entry(shape=(0,), offsets=(5, 5))}, "hole"),
        ({"a": entry(offsets=(1 << 60, (1 << 60) + 4))}, "truncated"),
        ({"a": entry(offsets=(4, 0))}, "bad_entry"),
        ({"a": entry(offsets=(0, 4, 4))}, "bad_entry"),
        ({"a": entry(offsets=(-4, 0))}, "bad_entry"),
        ({"a": entry(offsets=(0.0, 4.0))}, "bad_entry"),
        ({"a": entry(shape=(True, 4))}, "bad_entry"),
        ({"a": entry(shape=(1,) * 65)}, "bad_entry"),
        ({"a": entry(shape=(1 << 64,))}, "bad_entry"),
        ({"a": entry() | {"extra": 1}}, "bad_entry"),
        ({"a": {"dtype": "U8", "shape": [4]}}, "bad_entry"),
        ({"a": entry("U9")}, "unknown_dtype"),
        ({"a": entry() | {"dtype": ["U8"]}}, "unknown_dtype"),
        ({"a": entry("F32")}, "size_mismatch"),
        ({"a": entry("F4", (7,))}, "size_mismatch"),
        ({"a": entry(shape=(1 << 32, 1 << 32))}, "size_mismatch"),
        ({"a\0": entry()}, "bad_name"),
        ({"a" * 1025: entry()}, "bad_name"),
        ({"a": 5}, "bad_header"),
        ({"__metadata__": {"k": 5}}, "bad_header"),
        (b'{"\\ud800":{"dtype":"U8","shape":[12],"data_offsets":[0,12]}}', "bad_name"),
        (b'{"a":{"dtype":"U8","shape":[12],"data_offsets":[0,12],"shape":[12]}}', "bad_entry"),
        (b'{"a":{"dtype":"U8","shape":' + b"[" * 3000 + b',"data_offsets":[0,12]}}', "bad_entry"),
        (b'{"a":{"dtype":"U8","shape":[' + b"1," * 3000 + b'12],"data_offsets":[0,12]}}', "bad_entry"),
        (b'{"a":{"dtype":"U8","shape":[12],"data_offsets":[0,12]}', "bad_header"),
        (b'{"a":{"dtype":"U8","shape":[12],"data_offsets":[0,12]}}x', "bad_header"),
        (b'{"a":{"dtype":"U8","shape":[12],"data_offsets":[0,12]},}', "bad_header"),
        (b'{"a' + b"\xff" + b'":{}}', "bad_header"),
        (b'{"a', "bad_header"),
        (b"{" + b"[" * 100_000, "bad_header"),
    ],
)
def test_a_malformed_header_is_refused_with_a_code(header, code):
    assert error_of(safetensors_header(header, bytes(12))).code == code


def test_a_duplicate_name_is_refused_although_json_allows_it():
    one = b'"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
    assert error_of(safetensors_header(b"{" + one + b"," + one + b"}")).code == "duplicate_name"
    assert error_of(safetensors_header(b'{"__metadata__":{"k":"1","k":"2"}}')).code == "duplicate_name"


def test_the_error_names_the_tensor_and_the_numbers():
    detail = error_of(safetensors_header({"blk.0.w": entry("F32", (2, 3), (0, 20))}, bytes(20))).detail
    assert "'blk.0.w'" in detail
    assert "F32 [2, 3]" in detail
    assert "20 bytes" in detail


def test_displayed_metadata_is_short_and_has_no_terminal_codes():
    raw = safetensors({}, {f"key{number}": "\x1b[2J" + "x" * 500 for number in range(50)})
    metadata = read_layout(Bytes(raw)).metadata
    assert len(metadata) == 32
    assert all(
        len(value) == 200 and value.startswith("\N{REPLACEMENT CHARACTER}[2J") for value in metadata.values()
    )


TENSORS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).filter(
        lambda name: name != "__metadata__"
    ),
    st.tuples(st.sampled_from(["U8", "BF16", "F32", "C64"]), st.lists(st.integers(0, 4), max_size=3)),
    max_size=6,
)


@given(TENSORS)
@settings(max_examples=60, deadline=None)
def test_any_written_tensors_are_read_back(shapes):
    tensors = {
        name: (dtype, tuple(shape), bytes(packed_size(dtype.lower(), tuple(shape))))
        for name, (dtype, shape) in shapes.items()
    }
    layout = read_layout(Bytes(safetensors(tensors)))
    found = {tensor.name: (tensor.dtype.upper(), tensor.shape, tensor.size) for tensor in layout.tensors}
    assert found == {name: (dtype, shape, len(raw)) for name, (dtype, shape, raw) in tensors.items()}
