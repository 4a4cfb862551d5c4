"""A repeated file has the same format, and the same bytes under other names."""

import struct
from pathlib import Path

import pytest

from tests.workers.delta.layouts.writers import safetensors
from workers.delta.benchmark.synthetic_files import UnsupportedFormat, write_repeated
from workers.delta.layouts import read_layout
from workers.delta.local_file import LocalFile

CODES, SCALES = bytes(range(200)) * 17, bytes(range(60, 100))


def gguf() -> bytes:
    """A GGUF file of 100 rows of one block of Q8_0, and of ten float32."""
    records = [(b"codes", (32, 100), 8, 0), (b"scales", (10,), 0, len(CODES) + -len(CODES) % 32)]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(records), 0)
    for name, shape, kind, offset in records:
        head += struct.pack("<Q", len(name)) + name
        head += struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
    return head + bytes(-len(head) % 32) + CODES + bytes(-len(CODES) % 32) + SCALES


@pytest.mark.parametrize("form", ["safetensors", "gguf"])
def test_every_copy_has_the_tensors_of_the_file(form, tmp_path: Path):
    small = (
        gguf()
        if form == "gguf"
        else safetensors({"codes": ("I8", [len(CODES)], CODES), "scales": ("F32", [10], SCALES)})
    )
    (tmp_path / "small").write_bytes(small)
    write_repeated(tmp_path / "small", 3, tmp_path / "large")
    with LocalFile(tmp_path / "small") as one, LocalFile(tmp_path / "large") as many:
        before, after = read_layout(one), read_layout(many)
        assert after.format == before.format == form
        kinds = [(tensor.name, tensor.dtype, tensor.shape) for tensor in before.tensors]
        expected = [(f"copy{at}.{name}", *rest) for at in range(3) for name, *rest in kinds]
        assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in after.tensors] == expected
        raw = {tensor.name: many.read(tensor.offset, tensor.size) for tensor in after.tensors}
        assert all(raw[f"copy{at}.codes"] == CODES and raw[f"copy{at}.scales"] == SCALES for at in range(3))


def test_a_file_without_tensors_cannot_be_repeated(tmp_path: Path):
    (tmp_path / "small").write_bytes(b"nothing of the kind")
    with pytest.raises(UnsupportedFormat, match="opaque"):
        write_repeated(tmp_path / "small", 2, tmp_path / "large")
