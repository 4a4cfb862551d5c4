"""One ONNX TensorProto: what it is called, what it holds, and where its bytes lie.

Field numbers and element kinds from `onnx.proto3`, external data from `docs/ExternalData.md`
(github.com/onnx/onnx).
"""

from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath

from workers.delta.layouts.cursor import Cursor
from workers.delta.layouts.layout import ExternalTensor, MalformedFile, Tensor
from workers.delta.layouts.protobuf import BYTES, VARINT, Field, fields
from workers.delta.layouts.rules import MAX_DIMENSIONS, packed_size, printable, tensor_name

DTYPES = {
    1: "f32",
    2: "u8",
    3: "i8",
    4: "u16",
    5: "i16",
    6: "i32",
    7: "i64",
    9: "bool",
    10: "f16",
    11: "f64",
    12: "u32",
    13: "u64",
    14: "c64",
    15: "c128",
    16: "bf16",
    17: "f8_e4m3",
    18: "f8_e4m3fnuz",
    19: "f8_e5m2",
    20: "f8_e5m2fnuz",
    21: "u4",
    22: "i4",
    23: "f4",
    24: "f8_e8m0",
    25: "u2",
    26: "i2",
    27: "f6_e2m3",
    28: "f6_e3m2",
}
MAX_TYPE = 1023
MAX_TEXT_BYTES = 1024
FORMAT = "onnx"


@dataclass(slots=True)
class TensorProto:
    """What was found of one tensor.

    Attributes:
        name: as the file spells it, possibly empty.
        shape: elements per dimension.
        kind: ONNX data type number.
        raw: offset and length of `raw_data`, when it is there.
        external: the entries of `external_data`, when the tensor's bytes are in another file.
    """

    name: str = ""
    shape: tuple[int, ...] = ()
    kind: int = 0
    raw: tuple[int, int] | None = None
    is_external: bool = False
    entries: dict[str, str] = field(default_factory=dict)


def read_tensor(cursor: Cursor, end: int) -> TensorProto:
    """Walk a TensorProto up to `end`, over its data and not through it.

    Raises:
        MalformedFile: broken fields, a name or a shape out of bounds.
    """
    found = TensorProto()
    for item in fields(cursor, end, "a tensor"):
        match item.number, item.wire:
            case 1, _:
                found.shape = _more_dims(cursor, item, found.shape)
            case 2, 0:
                found.kind = item.value
            case 8, 2:
                found.name = tensor_name(FORMAT, read_text(cursor, item.value, "a tensor's name"))
            case 9, 2:
                found.raw = (cursor.position, item.value)
            case 13, 2:
                _read_entry(cursor, item.end, found.entries)
            case 14, 0:
                found.is_external = item.value == 1
    return found


def read_text(cursor: Cursor, length: int, what: str) -> bytes:
    """A short text.

    Raises:
        MalformedFile: `bad_name`, longer than 1 KiB.
    """
    if length > MAX_TEXT_BYTES:
        raise cursor.refuse(
            "bad_name", f"{what} at byte {cursor.position} has {length} bytes, at most 1024 are"
        )
    return cursor.take(length, what)


def inside(found: TensorProto, name: str) -> Tensor | None:
    """The tensor whose bytes are in this file, if they are there as one piece.

    Raises:
        MalformedFile: `unknown_dtype`, or `size_mismatch` between shape and bytes.
    """
    if found.is_external or found.raw is None:
        return None
    offset, size = found.raw
    dtype = _dtype(found, name)
    expected = packed_size(dtype, found.shape) if dtype != "bytes" else size
    if dtype.startswith("f6") and expected != size:
        dtype, expected = "bytes", size
    if expected != size:
        raise MalformedFile(
            FORMAT,
            "size_mismatch",
            f"tensor {name!r} of {dtype} {list(found.shape)} needs {expected} bytes and has {size}",
        )
    return Tensor(name, dtype, found.shape if dtype != "bytes" else (size,), offset, size)


def outside(found: TensorProto, name: str) -> ExternalTensor | None:
    """The tensor whose bytes are in another file.

    Raises:
        MalformedFile: `unsafe_path`, `bad_external_data`, `unknown_dtype` or `size_mismatch`.
    """
    if not found.is_external:
        return None
    location = found.entries.get("location", "")
    _require_safe(name, location)
    offset = _number(name, found.entries, "offset", 0)
    dtype = _dtype(found, name)
    expected = 0 if dtype == "bytes" else packed_size(dtype, found.shape)
    size = _number(name, found.entries, "length", expected)
    if dtype != "bytes" and not dtype.startswith("f6") and size != expected:
        raise MalformedFile(
            FORMAT,
            "size_mismatch",
            f"tensor {name!r} of {dtype} {list(found.shape)} needs {expected} bytes, its length says {size}",
        )
    return ExternalTensor(name, dtype, found.shape, location, offset, size)


def _more_dims(cursor: Cursor, item: Field, shape: tuple[int, ...]) -> tuple[int, ...]:
    # Repeated integers come one by one or packed into one field; a reader has to know both.
    more = [item.value] if item.wire == VARINT else []
    while item.wire == BYTES and cursor.position < item.end and len(more) <= MAX_DIMENSIONS:
        more.append(cursor.varint("a shape"))
    if len(shape) + len(more) > MAX_DIMENSIONS or any(extent >> 63 for extent in more):
        raise cursor.refuse("bad_shape", f"a shape at byte {cursor.position} is negative or too long")
    return shape + tuple(more)


def _read_entry(cursor: Cursor, end: int, entries: dict[str, str]) -> None:
    key = value = ""
    for item in fields(cursor, end, "external data"):
        if item.wire != BYTES or item.number > 2:
            continue
        text = read_text(cursor, item.value, "external data").decode(errors="replace")
        key, value = (text, value) if item.number == 1 else (key, text)
    if key in {"location", "offset", "length"}:
        entries[key] = value


def _dtype(found: TensorProto, name: str) -> str:
    # Numbers newer than this reader are not an error of the file; 0 and strings cannot be raw bytes.
    dtype = DTYPES.get(found.kind, "bytes")
    if dtype == "bytes" and not max(DTYPES) < found.kind <= MAX_TYPE:
        raise MalformedFile(FORMAT, "unknown_dtype", f"tensor {name!r} has data type {found.kind}")
    return dtype


def _require_safe(name: str, location: str) -> None:
    parts = PurePosixPath(location.replace("\\", "/")).parts
    is_relative = not PurePosixPath(location).is_absolute() and not PureWindowsPath(location).anchor
    if not parts or ".." in parts or not is_relative or not location.isprintable():
        raise MalformedFile(
            FORMAT,
            "unsafe_path",
            f"tensor {name!r} lies in {printable(location)!r}, not in a file beside this one",
        )


def _number(name: str, entries: dict[str, str], key: str, default: int) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise MalformedFile(FORMAT, "bad_external_data", f"{key} of tensor {name!r} is {printable(text)!r}")
    return int(text)
