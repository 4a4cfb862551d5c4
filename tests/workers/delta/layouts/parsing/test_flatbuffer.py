"""Tested with files of the official builder, which writes tables back to front and shares vtables."""

import struct

import flatbuffers
import numpy as np
import pytest

from tests.workers.delta.layouts.writers import Bytes
from workers.delta.layouts import MalformedFile, read_layout
from workers.delta.layouts.parsing.flatbuffer import Vector, root_table
from workers.delta.layouts.parsing.pages import PagedFile


def pages(raw):
    return PagedFile(Bytes(bytes(raw)), "tflite", budget=1 << 20)


def table(builder, slots, **fields):
    """Build a table: `u32_2=5` puts an unsigned 32-bit 5 into slot 2, `ref_0=...` a reference into slot 0."""
    builder.StartObject(slots)
    for key, value in fields.items():
        kind, slot = key.split("_")
        if kind == "ref":
            builder.PrependUOffsetTRelativeSlot(int(slot), value, 0)
        elif kind == "i8":
            builder.PrependInt8Slot(int(slot), value, 0)
        elif kind == "u64":
            builder.PrependUint64Slot(int(slot), value, 0)
        else:
            builder.PrependUint32Slot(int(slot), value, 0)
    return builder.EndObject()


def references(builder, targets):
    builder.StartVector(4, len(targets), 4)
    for target in reversed(targets):
        builder.PrependUOffsetTRelative(target)
    return builder.EndVector()


def test_a_model_of_the_official_builder_is_read():
    builder = flatbuffers.Builder(64)
    weights = np.arange(40_000, dtype=np.int8)
    buffers = [table(builder, 3), table(builder, 3, ref_0=builder.CreateByteVector(weights.tobytes()))]
    buffers.append(table(builder, 3, ref_0=builder.CreateByteVector(b"01234567")))
    tensors = []
    for name, kind, shape, buffer in [("x", 0, [1, 4], 0), ("w", 9, [200, 200], 1), ("b", 0, [2], 2)]:
        text, extents = builder.CreateString(name), builder.CreateNumpyVector(np.array(shape, np.int32))
        tensors.append(table(builder, 8, ref_0=extents, i8_1=kind, u32_2=buffer, ref_3=text))
    subgraph = table(builder, 5, ref_0=references(builder, tensors))
    subgraphs, buffer_vector = references(builder, [subgraph]), references(builder, buffers)
    model = table(
        builder, 8, u32_0=3, ref_2=subgraphs, ref_3=builder.CreateString("real"), ref_4=buffer_vector
    )
    builder.Finish(model, file_identifier=b"TFL3")
    raw = bytes(builder.Output())
    layout = read_layout(Bytes(raw))
    found = {
        tensor.name: (tensor.dtype, tensor.shape, raw[tensor.offset :][: tensor.size])
        for tensor in layout.tensors
    }
    assert found == {"0/w": ("i8", (200, 200), weights.tobytes()), "0/b": ("f32", (2,), b"01234567")}
    assert layout.metadata["description"] == "real"


def test_missing_fields_have_their_defaults():
    builder = flatbuffers.Builder(64)
    builder.Finish(table(builder, 4, u32_1=7))
    found = root_table(pages(builder.Output()), "a table")
    assert found.number(1, 4) == 7
    assert found.number(3, 4, default=5) == 5
    assert found.number(30, 4) == 0
    assert found.vector(0, 4) == Vector(0, 0)
    assert found.table(2, "none") is None
    assert found.text(0, 10) == ""


def test_tables_texts_and_signed_numbers_are_read():
    builder = flatbuffers.Builder(64)
    inner = table(builder, 1, i8_0=-3)
    text = builder.CreateString("héllo")
    builder.Finish(table(builder, 2, ref_0=inner, ref_1=text))
    found = root_table(pages(builder.Output()), "a table")
    child = found.table(0, "inner")
    assert child is not None
    assert child.number(0, 1, signed=True) == -3
    assert found.text(1, 10) == "héllo"
    assert found.text(1, 3) is None


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "truncated"),
        (struct.pack("<I", 100), "truncated"),
        (struct.pack("<Ii", 4, 100), "truncated"),
        (struct.pack("<IiHH", 4, -4, 2, 4), "bad_table"),
        (struct.pack("<IiHH", 4, -4, 5, 4), "bad_table"),
        (struct.pack("<IiHH", 4, -4, 400, 4), "truncated"),
        (struct.pack("<IiHHH", 4, -4, 6, 4, 2), "bad_table"),
        (struct.pack("<IiHHH", 4, -4, 6, 7, 4), "bad_table"),
        (struct.pack("<IiHHHHI", 4, -4, 6, 16, 12, 0, 0), "bad_table"),
        (struct.pack("<IiHHHHI", 4, -4, 6, 16, 12, 0, 1 << 31), "truncated"),
        (struct.pack("<IiHHHHII", 4, -4, 6, 16, 12, 0, 4, 1), "count_too_large"),
    ],
)
def test_an_offset_or_count_outside_the_file_is_refused(raw, code):
    with pytest.raises(MalformedFile) as caught:
        root_table(pages(raw), "a table").vector(0, 4)
    assert caught.value.code == code
