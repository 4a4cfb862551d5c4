import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.delta.layouts.writers import torch_pickle
from workers.delta.layouts.formats.torch_pickle import storage_dtypes


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def storage(kind, key):
    return b"(" + text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text(key) + text("cpu") + b"K\x04tQ"


def test_every_storage_gets_the_dtype_of_its_class():
    kinds = {"0": "FloatStorage", "1": "BFloat16Storage", "17": "CharStorage", "2": "BoolStorage"}
    assert storage_dtypes(torch_pickle(kinds)) == {"0": "f32", "1": "bf16", "17": "i8", "2": "bool"}


def test_texts_and_classes_are_read_from_the_memo():
    program = b"\x80\x02" + text("storage") + b"q\x00ctorch\nHalfStorage\nq\x01" + text("cpu") + b"q\x02"
    program += b"(h\x00h\x01" + text("5") + b"h\x02K\x04tq\x03Q."
    assert storage_dtypes(program) == {"5": "f16"}


def test_classes_are_read_from_the_stack_as_protocol_4_writes_them():
    short = (
        b"\x8c\x07storage\x94\x8c\x05torch\x94\x8c\x0cFloatStorage\x94\x93\x94\x8c\x013\x94\x8c\x03cpu\x94"
    )
    assert storage_dtypes(b"\x80\x04(" + short + b"K\x04t\x94Q.") == {"3": "f32"}


def test_a_dtype_without_a_storage_class_is_read_from_after_the_untyped_storage():
    program = storage("UntypedStorage", "8") + b"K\x00)ctorch\nfloat8_e4m3fn\n" + storage("FloatStorage", "9")
    assert storage_dtypes(program) == {"8": "f8_e4m3", "9": "f32"}


def test_a_storage_with_two_dtypes_is_bytes():
    assert storage_dtypes(storage("FloatStorage", "0") + storage("IntStorage", "0")) == {"0": "bytes"}


def test_a_truncated_or_unknown_opcode_ends_the_walk_and_keeps_what_was_found():
    good = storage("FloatStorage", "0")
    for rest in [b"\xff", b"X\xff\xff\xff\xff", b"cno newline", b"\x8e" + b"\xff" * 8, b"J\x00"]:
        assert storage_dtypes(good + rest + storage("IntStorage", "1")) == {"0": "f32"}


def test_a_class_name_that_is_too_long_is_ignored():
    assert storage_dtypes(b"c" + b"x" * 5000 + b"\ny\n" + storage("FloatStorage", "0")) == {"0": "f32"}


@given(
    st.lists(
        st.sampled_from([bytes([code]) for code in range(256)] + [b"\x01\x00\x00\x00", b"a\n"]), max_size=60
    )
)
@settings(deadline=None)
def test_any_pickle_gives_a_result(parts):
    assert isinstance(storage_dtypes(storage("FloatStorage", "0") + b"".join(parts)), dict)
