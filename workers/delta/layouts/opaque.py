"""Files of which only the length is known: tokenizers, configurations, formats without a reader."""

from workers.delta.layouts.layout import Layout, RangeReader

FORMAT = "opaque"


def read(reader: RangeReader) -> Layout:
    """A layout without tensors."""
    return Layout(FORMAT, reader.size, ())
