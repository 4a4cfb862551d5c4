"""The vocabulary that all readers share: a file is a list of tensors, by byte range."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class RangeReader(Protocol):
    """Bytes by range, from a local file or from an object store."""

    @property
    def size(self) -> int:
        """Length of the whole file in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`.

        Raises:
            EOFError: the range ends behind the file.
        """


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor's bytes in a file.

    Attributes:
        name: unique in the file, as the format spells it.
        dtype: canonical lower-case element kind: `i8 u8 i16 ... f64 bf16 f16 f8_e4m3 i4 u4 f4 bool`, or
            `ggml:q4_0`, `ggml:q4_k`, ... for block types, or `bytes` where the format does not say.
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
    """A tensor that a file names but another file beside it holds (ONNX external data).

    Attributes:
        name: unique in the file.
        dtype: as in `Tensor`.
        shape: elements per dimension, slowest first.
        location: path relative to the folder of the file; never absolute, never with `..`.
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
    """What is inside a file.

    Attributes:
        format: `safetensors`, `gguf`, `onnx`, `tflite`, `torch_zip` or `opaque`.
        size: length of the file in bytes.
        tensors: ascending by offset, inside the file, not overlapping.
        metadata: a few strings worth showing to a person (bounded: at most 32 of at most 200 characters).
        external: tensors that lie in files beside this one.
    """

    format: str
    size: int
    tensors: tuple[Tensor, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    external: tuple[ExternalTensor, ...] = ()


class MalformedFile(Exception):
    """The file says it is of a known format and breaks its rules.

    Attributes:
        format: the format that the file claims.
        code: stable, for example `header_too_long`, `tensors_overlap`, `truncated`.
        detail: a sentence that says what is wrong and where.
    """

    def __init__(self, format_name: str, code: str, detail: str) -> None:
        """Name the format, the rule broken and the place."""
        super().__init__(f"{format_name}: {code}: {detail}")
        self.format = format_name
        self.code = code
        self.detail = detail
