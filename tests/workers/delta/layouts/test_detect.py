import random
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.workers.delta.layouts import writers
from tests.workers.delta.layouts.writers import Bytes
from workers.delta.layouts import MalformedFile, read_layout


@pytest.fixture(scope="module")
def valid_files(tmp_path_factory):
    path = tmp_path_factory.mktemp("seed") / "m.pt"
    texts = struct.pack("<IQ", 8, 1) + writers.gguf_string("q")
    return [
        writers.safetensors({"w": ("BF16", (2, 3), bytes(12)), "b": ("F32", (1,), b"abcd")}, {"a": "b"}),
        writers.gguf(
            {"w": (2, (32, 3), bytes(54)), "b": (0, (3,), bytes(12))},
            [
                writers.gguf_pair("general.name", 8, writers.gguf_string("x")),
                writers.gguf_pair("t", 9, texts),
            ],
        ),
        writers.onnx_model(
            writers.field(
                1, writers.field(2, b"c") + writers.field(5, writers.field(5, writers.onnx_tensor("")))
            ),
            writers.field(5, writers.onnx_tensor()),
            writers.field(5, writers.onnx_external("e", offset=4096, length=4)),
        ),
        writers.tflite(
            [("a", 9, (4,), 1), ("b", 0, (2,), 2), ("c", 9, (5,), 3)], [b"abcd", bytes(8)], [b"hello"]
        ),
        writers.torch_zip(path, {"0": b"abcdefgh"}, writers.torch_pickle({"0": "FloatStorage"})),
    ]


def checked_format(raw):
    """Return the detected format, after checking the layout or the error."""
    try:
        layout = read_layout(Bytes(raw))
    except MalformedFile as error:
        refused = error
    else:
        check_layout(layout, raw)
        return layout.format
    assert refused.code.replace("_", "").isalpha()
    assert 0 < len(refused.detail) < 2000
    return refused.format


def check_layout(layout, raw):
    end = 0
    for tensor in layout.tensors:
        assert tensor.size >= 0
        assert tensor.offset >= (end if tensor.size else 0)
        assert tensor.offset + tensor.size <= len(raw)
        end = max(end, tensor.offset + tensor.size)
    assert len({tensor.name for tensor in layout.tensors}) == len(layout.tensors)
    assert layout.size == len(raw)


def test_each_format_is_detected_by_its_content(valid_files):
    formats = [checked_format(raw) for raw in valid_files]
    assert formats == ["safetensors", "gguf", "onnx", "tflite", "torch_zip"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"GGU",
        b"PK\x05\x06" + bytes(18),
        b'{"model": {"type": "BPE"}}',
        b"config= {'a': 1}",
        b'config= {"a": 1}',
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"\x80\x02}q\x00.",
        bytes(1000),
        b"\xff" * 1000,
    ],
)
def test_a_file_of_no_known_format_is_opaque(raw):
    layout = read_layout(Bytes(raw))
    assert (layout.format, layout.size, layout.tensors) == ("opaque", len(raw), ())


def test_random_files_are_opaque():
    source = random.Random(5)
    assert {read_layout(Bytes(source.randbytes(2000))).format for _ in range(500)} == {"opaque"}


@given(st.binary(max_size=300))
@example(b"GGUF" + bytes(20))
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_a_valid_layout_or_an_error(raw):
    checked_format(raw)


@given(
    st.sampled_from([b"GGUF", b"\x20\0\0\0TFL3", b"\x08\0\0\0\0\0\0\0{", b"PK\3\4", b"\x08\x0a\x3a"]),
    st.binary(max_size=300),
)
@settings(max_examples=300, deadline=None)
def test_any_bytes_after_a_magic_number_give_a_valid_layout_or_an_error(magic, raw):
    checked_format(magic + raw)


VALUES = st.sampled_from(
    [b"\0", b"\x01", b"\x7f", b"\xff", b"\xff" * 4, b"\xff" * 8, bytes(8), bytes(7) + b"\x80"]
)
CHANGES = st.lists(
    st.tuples(st.sampled_from(["replace", "insert", "delete", "cut"]), st.integers(0, 1 << 16), VALUES),
    min_size=1,
    max_size=6,
)


def changed(raw, changes):
    raw = bytearray(raw)
    for kind, place, value in changes:
        at = place % (len(raw) + 1)
        if kind == "replace":
            raw[at : at + len(value)] = value
        elif kind == "insert":
            raw[at:at] = value
        elif kind == "delete":
            del raw[at : at + len(value)]
        else:
            del raw[max(at, 16) :]
    return bytes(raw)


@given(which=st.integers(0, 4), changes=CHANGES)
@settings(max_examples=1500, deadline=None)
def test_corrupted_files_give_a_valid_layout_or_an_error(valid_files, which, changes):
    checked_format(changed(valid_files[which], changes))
