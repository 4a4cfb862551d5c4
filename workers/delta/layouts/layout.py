"""The types that all readers share: a layout is a list of tensors with their byte ranges."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class RangeReader(Protocol):
    """Access to bytes by range, in a local file or an object store."""

    @property
    def size(self) -> int:
        """Length of the whole file in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`.

        Raises:
            EOFError: the range ends after the file.
        """


@dataclass(frozen=True, slots=True)
class Tensor:
    """The byte range of one tensor in a file.

    Attributes:
        name: unique in the file, spelled as in the file.
        dtype: canonical lower-case type: `i8 u8 i16 ... f64 bf16 f16 f8_e4m3 i4 u4 f4 bool`, or
            `ggml:q4_0`, `ggml:q4_k`, ... for block types, or `bytes` if unknown.
        shape: elements per dimension, slowest first.
        offset: first byte, from the start of the file.
        size: length in bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class ExternalTensor:
    """A tensor that is declared in this file but stored in another one (ONNX external data).

    Attributes:
        name: unique in the file.
        dtype: as in `Tensor`.
        shape: elements per dimension, slowest first.
        location: path relative to the directory of the file; never absolute, never with `..`.
        offset: first byte in the other file.
        size: length in bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    location: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The contents of a file.

    Attributes:
        format: `safetensors`, `gguf`, `onnx`, `tflite`, `torch_zip` or `opaque`.
        size: length of the file in bytes.
        tensors: ascending by offset, inside the file, not overlapping.
        metadata: strings to display, at most 32 of at most 200 characters.
        external: tensors that are stored in other files.
    """

    format: str
    size: int
    tensors: tuple[Tensor, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    external: tuple[ExternalTensor, ...] = ()


class MalformedFile(Exception):
    """The file matches a known format but violates its rules.

    Attributes:
        format: the format of the file.
        code: stable, for example `header_too_long`, `tensors_overlap`, `truncated`.
        detail: a sentence that says what is wrong and where.
    """

    def __init__(self, format_name: str, code: str, detail: str) -> None:
        """Create the error with format, code and detail."""
        super().__init__(f"{format_name}: {code}: {detail}")
        self.format = format_name
        self.code = code
        self.detail = detail
