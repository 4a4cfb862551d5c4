import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.delta.layouts.writers import Bytes, FlatBuffer, tflite
from workers.delta.layouts import Layout, MalformedFile, Tensor, read_layout

F32, STRING, I8, I4 = 0, 5, 9, 17


def error_of(raw):
    with pytest.raises(MalformedFile) as caught:
        read_layout(Bytes(bytes(raw)))
    assert caught.value.format == "tflite"
    return caught.value


def empty_model(**slots):
    flat = FlatBuffer()
    model, places = flat.table({0: ("I", 3), 2: ("ref", 0), 4: ("ref", 0)})
    flat.point(0, model)
    flat.point(places[2], flat.bytes_vector_of(b"", slots.get("subgraphs", 0)))
    flat.point(places[4], flat.bytes_vector_of(b"", slots.get("buffers", 0)))
    return flat.raw


def test_tensors_with_data_in_the_flatbuffer_are_found():
    raw = tflite([("x", F32, (1, 4), 0), ("w", I8, (2, 2), 1), ("b", F32, (2,), 2)], [b"abcd", b"01234567"])
    first, second = raw.index(b"abcd"), raw.index(b"01234567")
    assert read_layout(Bytes(raw)) == Layout(
        "tflite",
        len(raw),
        (Tensor("0/w", "i8", (2, 2), first, 4), Tensor("0/b", "f32", (2,), second, 8)),
        {"version": "3", "description": "tiny", "subgraphs": "1"},
    )


def test_tensors_with_data_after_the_flatbuffer_are_found():
    raw = tflite([("w", I8, (5,), 1), ("v", I4, (3,), 2)], [b"abcde"], [b"XY"])
    tensors = {tensor.name: tensor for tensor in read_layout(Bytes(raw)).tensors}
    assert (tensors["0/v"].dtype, tensors["0/v"].offset) == ("i4", raw.index(b"XY"))


def test_a_buffer_shared_by_tensors_is_listed_once():
    raw = tflite([("a", I8, (4,), 1), ("b", I8, (4,), 1)], [b"abcd"])
    assert [tensor.name for tensor in read_layout(Bytes(raw)).tensors] == ["0/a"]


def test_tensors_without_or_with_equal_names_get_unique_names():
    raw = tflite(
        [("a", I8, (1,), 1), ("a", I8, (1,), 2), ("", I8, (1,), 3), ("n" * 2000, I8, (1,), 4)], [b"x"] * 4
    )
    assert [tensor.name for tensor in read_layout(Bytes(raw)).tensors] == ["0/a", "0/a#1", "0/#2", "0/#3"]


@pytest.mark.parametrize(("kind", "shape"), [(STRING, (1,)), (F32, (9,)), (F32, (-1,)), (99, (4,))])
def test_a_buffer_that_does_not_match_dtype_and_shape_is_bytes(kind, shape):
    (tensor,) = read_layout(Bytes(tflite([("s", kind, shape, 1)], [b"abcde"]))).tensors
    assert (tensor.dtype, tensor.shape) == ("bytes", (5,))


def test_a_buffer_after_the_end_is_refused_even_if_its_offsets_would_wrap():
    raw = bytearray(tflite([("w", I8, (5,), 1)], [], [b"hello"]))
    place = raw.index(struct.pack("<QQ", raw.index(b"hello"), 5))
    for offset, size in [((1 << 64) - 4, 8), (16, (1 << 64) - 8), (len(raw) - 4, 5)]:
        raw[place : place + 16] = struct.pack("<QQ", offset, size)
        assert error_of(raw).code == "truncated"


def test_overlapping_buffers_are_refused():
    raw = bytearray(tflite([("w", I8, (5,), 1), ("v", I8, (5,), 2)], [], [b"hello", b"world"]))
    place = raw.index(struct.pack("<QQ", raw.index(b"world"), 5))
    raw[place : place + 8] = struct.pack("<Q", raw.index(b"hello") + 1)
    assert error_of(raw).code == "tensors_overlap"


def test_a_tensor_with_an_unknown_buffer_is_refused():
    error = error_of(tflite([("w", I8, (4,), 7)], [b"abcd"]))
    assert error.code == "bad_index"
    assert "buffer 7 of 2" in error.detail


@pytest.mark.parametrize("slot", ["subgraphs", "buffers"])
def test_a_count_that_cannot_fit_is_refused(slot):
    assert error_of(empty_model(**{slot: (1 << 32) - 1})).code == "count_too_large"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"\xff\xff\xff\xffTFL3", "truncated"),
        (b"\x08\x00\x00\x00TFL3", "truncated"),
        (b"\x08\x00\x00\x00TFL3" + struct.pack("<i", 100) + bytes(8), "truncated"),
        (b"\x08\x00\x00\x00TFL3" + struct.pack("<i", -4) + struct.pack("<HH", 3, 4), "bad_table"),
        (
            b"\x08\x00\x00\x00TFL3" + struct.pack("<i", -4) + struct.pack("<HHHHHHH", 14, 4, 0, 0, 0, 0, 90),
            "bad_table",
        ),
    ],
)
def test_a_malformed_table_is_refused_with_a_code(raw, code):
    assert error_of(raw).code == code


def test_a_file_truncated_anywhere_is_refused_or_still_valid():
    raw = tflite([("w", I8, (4,), 1)], [b"abcd"])
    for length in range(8, len(raw)):
        assert error_of(raw[:length]).code in {"truncated", "count_too_large"}


@given(
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from([(I8, 1), (F32, 4)])), max_size=5),
    st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_any_written_tensors_are_read_back(shapes, inline):
    buffers = [bytes([65 + number]) * (count * width) for number, (count, (_, width)) in enumerate(shapes)]
    tensors = [(f"t{number}", kind, (count,), number + 1) for number, (count, (kind, _)) in enumerate(shapes)]
    outside = [buffer + b"...." for buffer in buffers[inline:]]
    raw = tflite(tensors, buffers[:inline], outside)
    found = {tensor.name: raw[tensor.offset :][: tensor.size] for tensor in read_layout(Bytes(raw)).tensors}
    expected = buffers[:inline] + outside
    assert found == {f"0/t{number}": data for number, data in enumerate(expected)}
