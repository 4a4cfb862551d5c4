"""Read one ONNX TensorProto: its name, type and shape, and the range of its bytes.

Field numbers and data types from `onnx.proto3`, external data from `docs/ExternalData.md`
(github.com/onnx/onnx).
"""

from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath

from workers.delta.layouts.layout import ExternalTensor, MalformedFile, Tensor
from workers.delta.layouts.parsing.cursor import Cursor
from workers.delta.layouts.parsing.protobuf import BYTES, VARINT, Field, fields
from workers.delta.layouts.validation import MAX_DIMENSIONS, decode_tensor_name, packed_size, printable

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
    """The fields of a TensorProto.

    Attributes:
        name: as in the file, possibly empty.
        shape: elements per dimension.
        kind: ONNX data type number.
        raw: offset and length of `raw_data`, if present.
        is_external: whether the tensor's bytes are in another file.
        external_entries: the entries of `external_data`.
    """

    name: str = ""
    shape: tuple[int, ...] = ()
    kind: int = 0
    raw: tuple[int, int] | None = None
    is_external: bool = False
    external_entries: dict[str, str] = field(default_factory=dict)


def read_tensor(cursor: Cursor, end: int) -> TensorProto:
    """Read a TensorProto up to `end`, without its data.

    Raises:
        MalformedFile: fields are malformed, or a name or shape exceeds the limits.
    """
    found = TensorProto()
    for item in fields(cursor, end, "a tensor"):
        match item.number, item.wire:
            case 1, _:
                found.shape = _append_dimensions(cursor, item, found.shape)
            case 2, 0:
                found.kind = item.value
            case 8, 2:
                found.name = decode_tensor_name(FORMAT, read_text(cursor, item.value, "a tensor's name"))
            case 9, 2:
                found.raw = (cursor.position, item.value)
            case 13, 2:
                _read_entry(cursor, item.end, found.external_entries)
            case 14, 0:
                found.is_external = item.value == 1
    return found


def read_text(cursor: Cursor, length: int, what: str) -> bytes:
    """Read a short text.

    Raises:
        MalformedFile: `bad_name`, if it is longer than 1 KiB.
    """
    if length > MAX_TEXT_BYTES:
        raise cursor.malformed(
            "bad_name", f"{what} at byte {cursor.position} has {length} bytes, the limit is {MAX_TEXT_BYTES}"
        )
    return cursor.take(length, what)


def inline_tensor(found: TensorProto, name: str) -> Tensor | None:
    """Return the tensor if its bytes are in this file as `raw_data`, else None.

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


def external_tensor(found: TensorProto, name: str) -> ExternalTensor | None:
    """Return the tensor if its bytes are in another file, else None.

    Raises:
        MalformedFile: `unsafe_path`, `bad_external_data`, `unknown_dtype` or `size_mismatch`.
    """
    if not found.is_external:
        return None
    location = found.external_entries.get("location", "")
    _require_safe_path(name, location)
    offset = _number(name, found.external_entries, "offset", 0)
    dtype = _dtype(found, name)
    expected = 0 if dtype == "bytes" else packed_size(dtype, found.shape)
    size = _number(name, found.external_entries, "length", expected)
    if dtype != "bytes" and not dtype.startswith("f6") and size != expected:
        raise MalformedFile(
            FORMAT,
            "size_mismatch",
            f"tensor {name!r} of {dtype} {list(found.shape)} needs {expected} bytes, its length says {size}",
        )
    return ExternalTensor(name, dtype, found.shape, location, offset, size)


def _append_dimensions(cursor: Cursor, item: Field, shape: tuple[int, ...]) -> tuple[int, ...]:
    # Repeated integers are encoded one by one, or packed into one field.
    more = [item.value] if item.wire == VARINT else []
    while item.wire == BYTES and cursor.position < item.end and len(more) <= MAX_DIMENSIONS:
        more.append(cursor.varint("a shape"))
    if len(shape) + len(more) > MAX_DIMENSIONS or any(extent >> 63 for extent in more):
        raise cursor.malformed("bad_shape", f"a shape at byte {cursor.position} is negative or too long")
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
    # Data types newer than this reader are no error. Undefined (0) and string (8) have no raw bytes.
    dtype = DTYPES.get(found.kind, "bytes")
    if dtype == "bytes" and not max(DTYPES) < found.kind <= MAX_TYPE:
        raise MalformedFile(FORMAT, "unknown_dtype", f"tensor {name!r} has data type {found.kind}")
    return dtype


def _require_safe_path(name: str, location: str) -> None:
    parts = PurePosixPath(location.replace("\\", "/")).parts
    is_relative = not PurePosixPath(location).is_absolute() and not PureWindowsPath(location).anchor
    if not parts or ".." in parts or not is_relative or not location.isprintable():
        raise MalformedFile(
            FORMAT,
            "unsafe_path",
            f"tensor {name!r} has location {printable(location)!r}, not a path below the directory of the model",
        )


def _number(name: str, entries: dict[str, str], key: str, default: int) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise MalformedFile(FORMAT, "bad_external_data", f"{key} of tensor {name!r} is {printable(text)!r}")
    return int(text)
