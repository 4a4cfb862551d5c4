"""Which format a file is of, by what is in it and never by its name."""

from workers.delta.layouts import gguf, onnx, opaque, safetensors, tflite, torch_zip
from workers.delta.layouts.layout import Layout, RangeReader

HEAD_BYTES = 4096


def read_layout(reader: RangeReader) -> Layout:
    """The tensors of a model file.

    Any bytes whatever give a layout or a `MalformedFile`, in memory and time that the readers bound: a file
    that claims no known format is `opaque`, never an error. Formats with a magic are asked first, those that are
    told by their structure last.

    Args:
        reader: the file's bytes by range.

    Raises:
        MalformedFile: the file claims a known format and breaks its rules.
    """
    head = reader.read(0, min(HEAD_BYTES, reader.size))
    if gguf.claims(head):
        return gguf.read(reader)
    if tflite.claims(head):
        return tflite.read(reader)
    if torch_zip.claims(head, reader):
        return torch_zip.read(reader)
    if safetensors.claims(head, reader.size):
        return safetensors.read(reader)
    if onnx.claims(head, reader):
        return onnx.read(reader)
    return opaque.read(reader)
