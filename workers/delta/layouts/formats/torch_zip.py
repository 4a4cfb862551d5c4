"""PyTorch `.pt`: a ZIP of uncompressed entries, one per storage, and a pickle that is never executed.

Layout from `caffe2/serialize/inline_container.cc` and `torch/serialization.py` (github.com/pytorch/pytorch).
"""

from workers.delta.layouts.formats.torch_pickle import MAX_PICKLE_BYTES, storage_dtypes
from workers.delta.layouts.layout import Layout, MalformedFile, RangeReader, Tensor
from workers.delta.layouts.parsing.cursor import Cursor
from workers.delta.layouts.parsing.zip_directory import LOCAL_MAGIC, STORED, Entry, data_offset, read_entries
from workers.delta.layouts.validation import (
    BITS,
    decode_tensor_name,
    display_metadata,
    sorted_without_overlap,
)

FORMAT = "torch_zip"
MAX_HEADER_BYTES = 256 << 20
SMALL_READ = 4096
PICKLE_NAME = b"data.pkl"
TENSOR_FOLDERS = (b"data/", b"constants/")


def matches_format(head: bytes, reader: RangeReader) -> bool:
    """Whether the file is a ZIP archive with a `data.pkl`, well-formed or not."""
    if not head.startswith(LOCAL_MAGIC):
        return False
    length = int.from_bytes(head[26:28], "little")
    if _path_below_root(head[30 : 30 + length]) == PICKLE_NAME:
        return True
    try:
        return _find_pickle(read_entries(reader, FORMAT)) is not None
    except MalformedFile:
        return False


def read(reader: RangeReader) -> Layout:
    """Read the storages of a PyTorch file as one-dimensional tensors, named after their entry (`data/17`).

    The dtype comes from the pickle, if it fits the size. Compressed and encrypted entries are not tensors.

    Raises:
        MalformedFile: the directory or a local header is wrong, or entries overlap.
    """
    entries = read_entries(reader, FORMAT)
    if len({entry.name for entry in entries}) != len(entries):
        raise MalformedFile(FORMAT, "duplicate_name", "two entries of the archive have the same name")
    program = _find_pickle(entries)
    if program is None:
        raise MalformedFile(
            FORMAT, "bad_directory", "the archive begins with data.pkl, but its directory does not list it"
        )
    root = program.name.removesuffix(PICKLE_NAME)
    wanted = {
        entry.name.removeprefix(root): entry
        for entry in entries
        if entry.name.startswith(root) and entry.method == STORED and not entry.is_encrypted
    }
    offsets = _data_offsets(reader, wanted)
    byte_order = _read_entry(reader, wanted, offsets, b"byteorder", 16)
    dtypes = (
        {}
        if byte_order == b"big"
        else storage_dtypes(_read_entry(reader, wanted, offsets, PICKLE_NAME, MAX_PICKLE_BYTES))
    )
    tensors = [
        _tensor(name, entry, offsets[name], dtypes)
        for name, entry in wanted.items()
        if name.startswith(TENSOR_FOLDERS) and entry.size
    ]
    metadata = {"entries": len(entries), "byteorder": byte_order.decode(errors="replace")}
    return Layout(
        FORMAT, reader.size, sorted_without_overlap(FORMAT, tensors, reader.size), display_metadata(metadata)
    )


def _path_below_root(name: bytes) -> bytes:
    return name.partition(b"/")[2] or name


def _find_pickle(entries: list[Entry]) -> Entry | None:
    return next((entry for entry in entries if _path_below_root(entry.name) == PICKLE_NAME), None)


def _data_offsets(reader: RangeReader, wanted: dict[bytes, Entry]) -> dict[bytes, int]:
    cursor = Cursor(reader, FORMAT, budget=MAX_HEADER_BYTES, first_read=SMALL_READ)
    offsets = {}
    for name, entry in wanted.items():
        if name.startswith(TENSOR_FOLDERS) or name in {PICKLE_NAME, b"byteorder"}:
            offsets[name] = data_offset(cursor, entry)
            cursor.skip(entry.compressed_size, f"entry {name[:80]!r}")
    return offsets


def _read_entry(
    reader: RangeReader, wanted: dict[bytes, Entry], offsets: dict[bytes, int], name: bytes, max_size: int
) -> bytes:
    entry = wanted.get(name)
    if entry is None or entry.size > max_size:
        return b""
    return reader.read(offsets[name], entry.size)


def _tensor(name: bytes, entry: Entry, offset: int, dtypes: dict[str, str]) -> Tensor:
    text = decode_tensor_name(FORMAT, name)
    dtype = dtypes.get(text.removeprefix("data/"), "bytes")
    bits = BITS.get(dtype, 8)
    if entry.size * 8 % bits:
        dtype, bits = "bytes", 8
    return Tensor(text, dtype, (entry.size * 8 // bits,), offset, entry.size)
