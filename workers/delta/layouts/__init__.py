"""Where the tensors of a model file lie: one reader per format, none of which trusts the file."""

from workers.delta.layouts.layout import ExternalTensor, Layout, MalformedFile, RangeReader, Tensor
from workers.delta.layouts.recognise import read_layout

__all__ = ["ExternalTensor", "Layout", "MalformedFile", "RangeReader", "Tensor", "read_layout"]
