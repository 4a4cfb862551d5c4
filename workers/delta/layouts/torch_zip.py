"""PyTorch's `.pt`: a ZIP of stored records, each storage one entry, and a pickle that is never run.

Layout from `caffe2/serialize/inline_container.cc` and `torch/serialization.py` (github.com/pytorch/pytorch).
"""

from workers.delta.layouts.cursor import Cursor
from workers.delta.layouts.layout import Layout, MalformedFile, RangeReader, Tensor
from workers.delta.layouts.rules import BITS, shown, side_by_side, tensor_name
from workers.delta.layouts.torch_pickle import MAX_PICKLE_BYTES, storage_dtypes
from workers.delta.layouts.zip_directory import LOCAL_MAGIC, STORED, Entry, data_offset, read_entries

FORMAT = "torch_zip"
MAX_HEADER_BYTES = 256 << 20
SMALL_READ = 4096
PROGRAM = b"data.pkl"
TENSOR_FOLDERS = (b"data/", b"constants/")


def claims(head: bytes, reader: RangeReader) -> bool:
    """Whether a file is a ZIP archive with a `data.pkl`, well formed or not; other archives are not ours to judge."""
    if not head.startswith(LOCAL_MAGIC):
        return False
    length = int.from_bytes(head[26:28], "little")
    if _inner(head[30 : 30 + length]) == PROGRAM:
        return True
    try:
        return _program(read_entries(reader, FORMAT)) is not None
    except MalformedFile:
        return False


def read(reader: RangeReader) -> Layout:
    """The storages of a PyTorch file, named by their entry (`data/17`), flat.

    The element kind comes from the pickle's own words, where it gives one that divides the size; compressed and
    encrypted entries are not tensors.

    Raises:
        MalformedFile: a directory or local header that lies about where bytes are, entries that overlap.
    """
    entries = read_entries(reader, FORMAT)
    if len({entry.name for entry in entries}) != len(entries):
        raise MalformedFile(FORMAT, "duplicate_name", "two entries of the archive have the same name")
    program = _program(entries)
    if program is None:
        raise MalformedFile(
            FORMAT, "bad_directory", "the archive begins with data.pkl, its directory has none"
        )
    root = program.name.removesuffix(PROGRAM)
    wanted = {
        entry.name.removeprefix(root): entry
        for entry in entries
        if entry.name.startswith(root) and entry.method == STORED and not entry.is_encrypted
    }
    offsets = _offsets(reader, wanted)
    byte_order = _text(reader, wanted, offsets, b"byteorder", 16)
    dtypes = (
        {}
        if byte_order == b"big"
        else storage_dtypes(_text(reader, wanted, offsets, PROGRAM, MAX_PICKLE_BYTES))
    )
    tensors = [
        _tensor(name, entry, offsets[name], dtypes)
        for name, entry in wanted.items()
        if name.startswith(TENSOR_FOLDERS) and entry.size
    ]
    words = {"entries": len(entries), "byteorder": byte_order.decode(errors="replace")}
    return Layout(FORMAT, reader.size, side_by_side(FORMAT, tensors, reader.size), shown(words))


def _inner(name: bytes) -> bytes:
    return name.partition(b"/")[2] or name


def _program(entries: list[Entry]) -> Entry | None:
    return next((entry for entry in entries if _inner(entry.name) == PROGRAM), None)


def _offsets(reader: RangeReader, wanted: dict[bytes, Entry]) -> dict[bytes, int]:
    cursor = Cursor(reader, FORMAT, budget=MAX_HEADER_BYTES, first_read=SMALL_READ)
    offsets = {}
    for name, entry in wanted.items():
        if name.startswith(TENSOR_FOLDERS) or name in {PROGRAM, b"byteorder"}:
            offsets[name] = data_offset(cursor, entry)
            cursor.skip(entry.packed, f"entry {name[:80]!r}")
    return offsets


def _text(
    reader: RangeReader, wanted: dict[bytes, Entry], offsets: dict[bytes, int], name: bytes, most: int
) -> bytes:
    entry = wanted.get(name)
    if entry is None or entry.size > most:
        return b""
    return reader.read(offsets[name], entry.size)


def _tensor(name: bytes, entry: Entry, offset: int, dtypes: dict[str, str]) -> Tensor:
    text = tensor_name(FORMAT, name)
    dtype = dtypes.get(text.removeprefix("data/"), "bytes")
    bits = BITS.get(dtype, 8)
    if entry.size * 8 % bits:
        dtype, bits = "bytes", 8
    return Tensor(text, dtype, (entry.size * 8 // bits,), offset, entry.size)
