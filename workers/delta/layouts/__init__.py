"""Find the tensors in a model file. The readers never trust the file."""

from workers.delta.layouts.detect import read_layout
from workers.delta.layouts.layout import ExternalTensor, Layout, MalformedFile, RangeReader, Tensor

__all__ = ["ExternalTensor", "Layout", "MalformedFile", "RangeReader", "Tensor", "read_layout"]
