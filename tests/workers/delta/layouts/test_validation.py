import pytest

from workers.delta.layouts import MalformedFile, Tensor
from workers.delta.layouts.validation import (
    decode_tensor_name,
    display_metadata,
    packed_size,
    sorted_without_overlap,
)


def tensor(name, offset, size):
    return Tensor(name, "u8", (size,), offset, size)


def test_tensors_are_sorted_and_empty_ones_can_be_anywhere():
    tensors = [tensor("c", 8, 2), tensor("a", 0, 8), tensor("e", 4, 0), tensor("b", 8, 0)]
    assert [item.name for item in sorted_without_overlap("gguf", tensors, 10)] == ["a", "e", "b", "c"]


@pytest.mark.parametrize(
    ("second", "code"),
    [
        (tensor("b", 7, 1), "tensors_overlap"),
        (tensor("b", 0, 8), "tensors_overlap"),
        (tensor("b", 9, 2), "truncated"),
        (tensor("b", 11, 0), "truncated"),
        (tensor("a", 8, 2), "duplicate_name"),
    ],
)
def test_overlapping_tensors_are_refused(second, code):
    with pytest.raises(MalformedFile) as caught:
        sorted_without_overlap("gguf", [tensor("a", 0, 8), second], 10)
    assert caught.value.code == code


def test_narrow_elements_are_packed_and_the_last_byte_is_padded():
    assert packed_size("i4", (3,)) == 2
    assert packed_size("i2", (5,)) == 2
    assert packed_size("f6_e2m3", (4,)) == 3
    assert packed_size("f32", ()) == 4


@pytest.mark.parametrize("raw", [b"x" * 1025, b"\xff", b"a\nb", b"a\x7f", b"\x1b[2J"])
def test_names_that_cannot_be_displayed_or_stored_are_refused(raw):
    with pytest.raises(MalformedFile, match="bad_name"):
        decode_tensor_name("gguf", raw)


def test_displayed_metadata_is_limited_and_printable():
    metadata = display_metadata({f"k{number}": "\x1b" * 300 for number in range(40)})
    assert len(metadata) == 32
    assert set(metadata.values()) == {"\N{REPLACEMENT CHARACTER}" * 200}
