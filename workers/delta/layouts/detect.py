"""Detect the format of a file from its content, never from its name, and read its layout."""

from workers.delta.layouts.formats import gguf, onnx, opaque, safetensors, tflite, torch_zip
from workers.delta.layouts.layout import Layout, RangeReader

HEAD_BYTES = 4096


def read_layout(reader: RangeReader) -> Layout:
    """Find the tensors of a model file.

    Any file gives a layout or a `MalformedFile`, within bounded memory and time. A file of unknown format is `opaque`,
    which is no error. Formats with a magic number are tried first, formats that are detected by structure last.

    Args:
        reader: the file.

    Raises:
        MalformedFile: the file matches a known format but violates its rules.
    """
    head = reader.read(0, min(HEAD_BYTES, reader.size))
    if gguf.matches_format(head):
        return gguf.read(reader)
    if tflite.matches_format(head):
        return tflite.read(reader)
    if torch_zip.matches_format(head, reader):
        return torch_zip.read(reader)
    if safetensors.matches_format(head, reader.size):
        return safetensors.read(reader)
    if onnx.matches_format(head, reader):
        return onnx.read(reader)
    return opaque.read(reader)
