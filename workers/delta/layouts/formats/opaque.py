"""Files without known tensors: tokenizers, configurations, formats without a reader."""

from workers.delta.layouts.layout import Layout, RangeReader

FORMAT = "opaque"


def read(reader: RangeReader) -> Layout:
    """Return a layout without tensors."""
    return Layout(FORMAT, reader.size, ())
