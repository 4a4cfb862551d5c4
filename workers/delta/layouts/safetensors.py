"""safetensors: an 8-byte length, a JSON header, then one buffer that the tensors cover without holes.

Rules from the format's README (github.com/huggingface/safetensors): the header begins with `{`, has at most
100 MB, no duplicate keys; offsets are relative to the buffer, little-endian, in C order.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from workers.delta.layouts.layout import Layout, MalformedFile, RangeReader, Tensor
from workers.delta.layouts.rules import (
    BITS,
    MAX_DIMENSIONS,
    MAX_METADATA,
    MAX_METADATA_CHARACTERS,
    MAX_TENSORS,
    shown,
    side_by_side,
    tensor_name,
)

FORMAT = "safetensors"
MAX_HEADER_BYTES = 100_000_000
MAX_ENTRY_BYTES = 4096
MAX_STRING_BYTES = 16 << 20
MAX_METADATA_KEYS = 100_000
PREFIX_BYTES = 8
MAX_INTEGER = (1 << 64) - 1
DTYPES = {name.upper(): name for name in BITS if name not in {"i2", "u2", "i4", "u4", "c128"}}

_OPENING = re.compile(rb"\{[ \t\r\n]*(?:\}|\"[^\x00-\x1f]{8}|\"[^\x00-\x1f]*\Z)")
_CHARACTERS = {character: character.encode() for character in "{}:,"}
_SPACE = re.compile(rb"[ \t\r\n]*")
# A string without escapes is its own text; nearly all names are.
_PLAIN = re.compile(rb'"([^"\\\x00-\x1f]*+)"')
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def claims(head: bytes, size: int) -> bool:
    """Whether a file is meant to be safetensors, well formed or not.

    A length that fits and `{` is enough; a length that does not fit needs a `{` that goes on like JSON, and must
    not be text itself, because a text file may have `{` at its ninth byte by accident.
    """
    if head[8:9] != b"{":
        return False
    prefix = head[:PREFIX_BYTES]
    if int.from_bytes(prefix, "little") <= size - PREFIX_BYTES:
        return True
    is_text = all(byte in b"\t\r\n" or byte >= 0x20 for byte in prefix) and prefix.isascii()
    return not is_text and _OPENING.match(head, PREFIX_BYTES) is not None


def read(reader: RangeReader) -> Layout:
    """The tensors of a safetensors file, from two reads.

    Raises:
        MalformedFile: the header is too long, cut, not the JSON that it should be, or names bytes that overlap,
            leave holes, or do not fit dtype and shape.
    """
    length = int.from_bytes(reader.read(0, PREFIX_BYTES), "little")
    if length > MAX_HEADER_BYTES:
        raise _refuse(
            "header_too_long", f"the header has {length} bytes, at most {MAX_HEADER_BYTES} are allowed"
        )
    if length > reader.size - PREFIX_BYTES:
        raise _refuse("truncated", f"the header has {length} bytes, the file has {reader.size}")
    data = PREFIX_BYTES + length
    try:
        header = _Header(reader.read(PREFIX_BYTES, length), data)
        header.walk()
    except UnicodeDecodeError as error:
        raise _refuse("bad_header", f"the header is not UTF-8: {error.reason}") from error
    ordered = side_by_side(FORMAT, header.tensors, reader.size)
    _require_covered(ordered, data, reader.size)
    return Layout(FORMAT, reader.size, ordered, shown(header.metadata))


class _Header:
    """The header's JSON, entry by entry.

    Parsing the whole text at once would let 100 MB of `{},{},` take gigabytes, and already one emoji makes a text
    of 100 MB take four times that; this way nothing but one entry or string is ever held as text.
    """

    def __init__(self, raw: bytes, data: int) -> None:
        self._raw = raw
        self._at = 0
        self._data = data
        self._names: set[str] = set()
        self.tensors: list[Tensor] = []
        self.metadata: dict[str, str] = {}

    def walk(self) -> None:
        for key in self._pairs():
            if key in self._names:
                raise _refuse("duplicate_name", f"the key {key[:200]!r} is there twice")
            self._names.add(key)
            if key == "__metadata__":
                self._read_metadata()
            else:
                self._read_tensor(key)
        if self._raw[self._at :].strip(b" \t\r\n"):
            raise _refuse("bad_header", f"text behind the end of the header's JSON at byte {self._at}")

    def _pairs(self) -> Iterator[str]:
        self._expect("{")
        if self._peek() == "}":
            self._expect("}")
            return
        while True:
            yield self._string()
            if self._peek() == "}":
                self._expect("}")
                return
            self._expect(",")

    def _read_metadata(self) -> None:
        keys: set[str] = set()
        for key in self._pairs_of_strings():
            if key in keys:
                raise _refuse("duplicate_name", f"the key {key[:200]!r} is twice in __metadata__")
            keys.add(key)
            if len(keys) > MAX_METADATA_KEYS:
                raise _refuse("header_too_long", f"__metadata__ has more than {MAX_METADATA_KEYS} keys")

    def _pairs_of_strings(self) -> Iterator[str]:
        for key in self._pairs():
            value = self._string(colon=False)
            if len(self.metadata) < MAX_METADATA:
                self.metadata[key[:MAX_METADATA_CHARACTERS]] = value[: MAX_METADATA_CHARACTERS + 1]
            yield key

    def _read_tensor(self, key: str) -> None:
        if len(self.tensors) == MAX_TENSORS:
            raise _refuse("too_many_tensors", f"more than {MAX_TENSORS} tensors")
        name = tensor_name(FORMAT, key.encode(errors="surrogatepass"))
        self._expect("{", advance=False)
        end = self._raw.find(b"}", self._at, self._at + MAX_ENTRY_BYTES) + 1
        if not end:
            raise _refuse("bad_entry", f"the entry of tensor {name!r} does not end within 4096 bytes")
        try:
            entry = _ENTRY.decode(self._raw[self._at : end].decode())
        except UnicodeDecodeError:
            raise
        except (ValueError, RecursionError) as error:
            raise _refuse("bad_entry", f"the entry of tensor {name!r} is not JSON") from error
        self._at = end
        self.tensors.append(_tensor(name, entry, self._data))

    def _string(self, *, colon: bool = True) -> str:
        self._peek()
        match = _PLAIN.match(self._raw, self._at) or _STRING.match(self._raw, self._at)
        if match is None:
            raise _refuse("bad_header", f"no string, or one without end, at byte {self._at} of the header")
        if match.end() - match.start() > MAX_STRING_BYTES:
            raise _refuse(
                "header_too_long", f"a string at byte {self._at} has more than {MAX_STRING_BYTES} bytes"
            )
        try:
            value = match[1].decode() if match.re is _PLAIN else json.loads(match.group().decode())
        except json.JSONDecodeError as error:
            raise _refuse("bad_header", f"the string at byte {self._at} of the header is not JSON") from error
        self._at = match.end()
        if colon:
            self._expect(":")
        return str(value)

    def _peek(self) -> str:
        if self._raw[self._at : self._at + 1].isspace():
            match = _SPACE.match(self._raw, self._at)
            self._at = match.end() if match else self._at
        return self._raw[self._at : self._at + 1].decode("latin-1")

    def _expect(self, character: str, *, advance: bool = True) -> None:
        if self._raw.startswith(_CHARACTERS[character], self._at):
            self._at += advance
            return
        found = self._peek()
        if found != character:
            raise _refuse("bad_header", f"{character!r} expected at byte {self._at}, found {found!r}")
        self._at += advance


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) != len(pairs):
        raise ValueError("duplicate key")
    return entry


# One for all entries: `json.loads` would make a new one each time.
_ENTRY = json.JSONDecoder(object_pairs_hook=_unique)


def _tensor(name: str, entry: dict[str, Any], data: int) -> Tensor:
    if set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _refuse("bad_entry", f"tensor {name!r} needs dtype, shape and data_offsets, nothing else")
    dtype = DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise _refuse("unknown_dtype", f"tensor {name!r} has dtype {str(entry['dtype'])[:40]!r}")
    shape = _integers(name, "shape", entry["shape"], MAX_DIMENSIONS)
    offsets = _integers(name, "data_offsets", entry["data_offsets"], 2)
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _refuse("bad_entry", f"data_offsets of tensor {name!r} are not a beginning and an end")
    bits = BITS[dtype]
    for extent in shape:
        bits *= extent
    size = offsets[1] - offsets[0]
    if bits != size * 8:
        raise _refuse("size_mismatch", f"tensor {name!r} of {entry['dtype']} {list(shape)} has {size} bytes")
    return Tensor(name, dtype, shape, data + offsets[0], size)


def _integers(name: str, key: str, value: object, most: int) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > most:
        raise _refuse("bad_entry", f"{key} of tensor {name!r} is not a list of at most {most} numbers")
    for item in value:
        if type(item) is not int or not 0 <= item <= MAX_INTEGER:
            raise _refuse(
                "bad_entry", f"{key} of tensor {name!r} has something else than unsigned 64-bit integers"
            )
    return tuple(value)


def _require_covered(ordered: tuple[Tensor, ...], data: int, size: int) -> None:
    end = data
    for tensor in ordered:
        if tensor.offset != end:
            raise _refuse("hole", f"no tensor covers the {tensor.offset - end} bytes before {tensor.name!r}")
        end += tensor.size
    if end != size:
        raise _refuse("hole", f"no tensor covers the last {size - end} bytes")


def _refuse(code: str, detail: str) -> MalformedFile:
    return MalformedFile(FORMAT, code, detail)
