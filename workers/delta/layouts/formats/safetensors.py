"""safetensors: an 8-byte length, a JSON header, then one buffer that the tensors cover without holes.

Rules from the format's README (github.com/huggingface/safetensors): the header begins with `{`, has at most
100 MB, no duplicate keys; offsets are relative to the buffer, little-endian, in C order.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from workers.delta.layouts.layout import Layout, MalformedFile, RangeReader, Tensor
from workers.delta.layouts.validation import (
    BITS,
    MAX_DIMENSIONS,
    MAX_METADATA,
    MAX_METADATA_CHARACTERS,
    MAX_TENSORS,
    decode_tensor_name,
    display_metadata,
    sorted_without_overlap,
)

FORMAT = "safetensors"
MAX_HEADER_BYTES = 100_000_000
MAX_ENTRY_BYTES = 4096
MAX_STRING_BYTES = 16 << 20
MAX_METADATA_KEYS = 100_000
PREFIX_BYTES = 8
MAX_INTEGER = (1 << 64) - 1
DTYPES = {name.upper(): name for name in BITS if name not in {"i2", "u2", "i4", "u4", "c128"}}

_JSON_OPENING = re.compile(rb"\{[ \t\r\n]*(?:\}|\"[^\x00-\x1f]{8}|\"[^\x00-\x1f]*\Z)")
_PUNCTUATION = {character: character.encode() for character in "{}:,"}
_SPACE = re.compile(rb"[ \t\r\n]*")
# A string without escapes, as nearly all names are, needs no JSON decoder.
_UNESCAPED_STRING = re.compile(rb'"([^"\\\x00-\x1f]*+)"')
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def matches_format(head: bytes, size: int) -> bool:
    """Whether the file is meant to be safetensors, well-formed or not.

    A header length that fits, followed by `{`, is enough. If the length does not fit, the header must begin like JSON
    and the length must not be text, because a text file can have `{` as its ninth byte.
    """
    if head[8:9] != b"{":
        return False
    prefix = head[:PREFIX_BYTES]
    if int.from_bytes(prefix, "little") <= size - PREFIX_BYTES:
        return True
    is_text = all(byte in b"\t\r\n" or byte >= 0x20 for byte in prefix) and prefix.isascii()
    return not is_text and _JSON_OPENING.match(head, PREFIX_BYTES) is not None


def read(reader: RangeReader) -> Layout:
    """Read the tensors of a safetensors file, with two reads.

    Raises:
        MalformedFile: the header is too long, truncated or not the expected JSON, or the tensors overlap, leave holes,
            or do not fit their dtype and shape.
    """
    length = int.from_bytes(reader.read(0, PREFIX_BYTES), "little")
    if length > MAX_HEADER_BYTES:
        raise _malformed("header_too_long", f"the header has {length} bytes, the limit is {MAX_HEADER_BYTES}")
    if length > reader.size - PREFIX_BYTES:
        raise _malformed("truncated", f"the header has {length} bytes, the file has {reader.size} bytes")
    data = PREFIX_BYTES + length
    try:
        header = _HeaderParser(reader.read(PREFIX_BYTES, length), data)
        header.parse()
    except UnicodeDecodeError as error:
        raise _malformed("bad_header", f"the header is not UTF-8: {error.reason}") from error
    ordered = sorted_without_overlap(FORMAT, header.tensors, reader.size)
    _require_no_holes(ordered, data, reader.size)
    return Layout(FORMAT, reader.size, ordered, display_metadata(header.metadata))


class _HeaderParser:
    """Parses the JSON header entry by entry.

    Only one entry or string is held as text at a time. Parsed as a whole, 100 MB of `{},{},` would take gigabytes, and
    a single emoji would make a text of 100 MB take 400 MB.
    """

    def __init__(self, raw: bytes, data: int) -> None:
        self._raw = raw
        self._position = 0
        self._data_start = data
        self._names: set[str] = set()
        self.tensors: list[Tensor] = []
        self.metadata: dict[str, str] = {}

    def parse(self) -> None:
        for key in self._pairs():
            if key in self._names:
                raise _malformed("duplicate_name", f"the key {key[:200]!r} occurs twice")
            self._names.add(key)
            if key == "__metadata__":
                self._read_metadata()
            else:
                self._read_tensor(key)
        if self._raw[self._position :].strip(b" \t\r\n"):
            raise _malformed("bad_header", f"text after the end of the JSON header at byte {self._position}")

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
                raise _malformed("duplicate_name", f"the key {key[:200]!r} occurs twice in __metadata__")
            keys.add(key)
            if len(keys) > MAX_METADATA_KEYS:
                raise _malformed("header_too_long", f"__metadata__ has more than {MAX_METADATA_KEYS} keys")

    def _pairs_of_strings(self) -> Iterator[str]:
        for key in self._pairs():
            value = self._string(colon=False)
            if len(self.metadata) < MAX_METADATA:
                self.metadata[key[:MAX_METADATA_CHARACTERS]] = value[: MAX_METADATA_CHARACTERS + 1]
            yield key

    def _read_tensor(self, key: str) -> None:
        if len(self.tensors) == MAX_TENSORS:
            raise _malformed("too_many_tensors", f"more than {MAX_TENSORS} tensors")
        name = decode_tensor_name(FORMAT, key.encode(errors="surrogatepass"))
        self._expect("{", advance=False)
        end = self._raw.find(b"}", self._position, self._position + MAX_ENTRY_BYTES) + 1
        if not end:
            raise _malformed("bad_entry", f"the entry of tensor {name!r} does not end within 4096 bytes")
        try:
            entry = _ENTRY_DECODER.decode(self._raw[self._position : end].decode())
        except UnicodeDecodeError:
            raise
        except (ValueError, RecursionError) as error:
            raise _malformed("bad_entry", f"the entry of tensor {name!r} is not JSON") from error
        self._position = end
        self.tensors.append(_tensor(name, entry, self._data_start))

    def _string(self, *, colon: bool = True) -> str:
        self._peek()
        match = _UNESCAPED_STRING.match(self._raw, self._position) or _STRING.match(self._raw, self._position)
        if match is None:
            raise _malformed(
                "bad_header", f"expected a complete string at byte {self._position} of the header"
            )
        if match.end() - match.start() > MAX_STRING_BYTES:
            raise _malformed(
                "header_too_long", f"a string at byte {self._position} has more than {MAX_STRING_BYTES} bytes"
            )
        try:
            value = match[1].decode() if match.re is _UNESCAPED_STRING else json.loads(match.group().decode())
        except json.JSONDecodeError as error:
            raise _malformed(
                "bad_header", f"the string at byte {self._position} of the header is not JSON"
            ) from error
        self._position = match.end()
        if colon:
            self._expect(":")
        return str(value)

    def _peek(self) -> str:
        if self._raw[self._position : self._position + 1].isspace():
            match = _SPACE.match(self._raw, self._position)
            self._position = match.end() if match else self._position
        return self._raw[self._position : self._position + 1].decode("latin-1")

    def _expect(self, character: str, *, advance: bool = True) -> None:
        if self._raw.startswith(_PUNCTUATION[character], self._position):
            self._position += advance
            return
        found = self._peek()
        if found != character:
            raise _malformed(
                "bad_header", f"expected {character!r} at byte {self._position}, found {found!r}"
            )
        self._position += advance


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) != len(pairs):
        raise ValueError("duplicate key")
    return entry


# Shared by all entries, because `json.loads` with a hook would create a decoder for each call.
_ENTRY_DECODER = json.JSONDecoder(object_pairs_hook=_reject_duplicate_keys)


def _tensor(name: str, entry: dict[str, Any], data: int) -> Tensor:
    if set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _malformed("bad_entry", f"tensor {name!r} must have exactly dtype, shape and data_offsets")
    dtype = DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise _malformed("unknown_dtype", f"tensor {name!r} has dtype {str(entry['dtype'])[:40]!r}")
    shape = _integers(name, "shape", entry["shape"], MAX_DIMENSIONS)
    offsets = _integers(name, "data_offsets", entry["data_offsets"], 2)
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _malformed("bad_entry", f"data_offsets of tensor {name!r} are not two ascending numbers")
    bits = BITS[dtype]
    for extent in shape:
        bits *= extent
    size = offsets[1] - offsets[0]
    if bits != size * 8:
        raise _malformed(
            "size_mismatch", f"tensor {name!r} of {entry['dtype']} {list(shape)} has {size} bytes"
        )
    return Tensor(name, dtype, shape, data + offsets[0], size)


def _integers(name: str, key: str, value: object, max_length: int) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > max_length:
        raise _malformed(
            "bad_entry", f"{key} of tensor {name!r} is not a list of at most {max_length} numbers"
        )
    for item in value:
        if type(item) is not int or not 0 <= item <= MAX_INTEGER:
            raise _malformed(
                "bad_entry", f"{key} of tensor {name!r} has items that are not unsigned 64-bit integers"
            )
    return tuple(value)


def _require_no_holes(ordered: tuple[Tensor, ...], data: int, size: int) -> None:
    end = data
    for tensor in ordered:
        if tensor.offset != end:
            raise _malformed(
                "hole", f"no tensor covers the {tensor.offset - end} bytes before {tensor.name!r}"
            )
        end += tensor.size
    if end != size:
        raise _malformed("hole", f"no tensor covers the last {size - end} bytes")


def _malformed(code: str, detail: str) -> MalformedFile:
    return MalformedFile(FORMAT, code, detail)
