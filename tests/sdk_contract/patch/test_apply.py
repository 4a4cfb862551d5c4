"""The applier: works on partial input, writes nothing unchecked, and raises a specific error for each fault."""

import hashlib
from pathlib import Path

import pytest

from sdk_contract.patch import (
    Applier,
    BaseMismatch,
    BaseMissing,
    NotReversible,
    PatchCorrupt,
    PatchTruncated,
    apply_patch,
    reverse_patch,
)
from sdk_contract.patch.apply import CHUNK_SIZE
from sdk_contract.patch.container import BlockOp, BlockRecord, Header, pack_head
from tests.sdk_contract.patch.memory_file import MemoryFile

OLD = bytes(range(256)) * 10_000
EMPTY_DIGEST = bytes(16)


def short_digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:16]


def literal(data: bytes) -> bytes:
    """The payload of a coded block with one literal segment (below 128 bytes)."""
    return bytes((1, 2, 1, 0, len(data), 0)) + data


def patch(blocks: list[tuple[BlockOp, int, bytes]], notes: bytes = b"") -> tuple[bytes, bytes]:
    """Build a patch and its target. A block is a copy or zeros of a size, or literal bytes."""
    records, payloads, target = [], [], b""
    offset = 0
    for op, size, data in blocks:
        payload = literal(data) if op is BlockOp.CODED else b""
        made = {BlockOp.COPY: OLD[offset : offset + size], BlockOp.ZERO: bytes(size), BlockOp.CODED: data}[op]
        target += made
        read = size if op is BlockOp.COPY else 0
        digest = short_digest(payload) if payload else EMPTY_DIGEST
        begin = offset if read else 0
        records.append(
            BlockRecord(
                op,
                True,
                len(made),
                len(payload),
                begin,
                read,
                read,
                digest,
                short_digest(made if read else b""),
                short_digest(target),
            )
        )
        payloads.append(payload)
        offset += read
    header = Header(
        reversible=offset == len(OLD),
        source_size=len(OLD),
        target_size=len(target),
        source_sha256=hashlib.sha256(OLD).digest(),
        target_sha256=hashlib.sha256(target).digest(),
        payload_size=sum(map(len, payloads)),
        block_count=len(records),
        block_limit=1 << 20,
        working_set=1 << 20,
        notes_size=len(notes),
    )
    return pack_head(header, records) + b"".join(payloads) + notes, target


MIXED = [
    (BlockOp.CODED, 0, b"hello"),
    (BlockOp.COPY, 2 * CHUNK_SIZE + 17, b""),
    (BlockOp.ZERO, CHUNK_SIZE + 3, b""),
    (BlockOp.CODED, 0, b"end"),
]


@pytest.mark.parametrize("chunk", [1, 7, 1000, 1 << 20])
def test_blocks_of_every_operation_are_applied_with_any_chunk_size(chunk):
    data, target = patch(MIXED)
    new = MemoryFile()
    applier = Applier(MemoryFile(OLD), new)
    for at in range(0, len(data), chunk):
        assert applier.next_offset == at
        applier.feed(data[at : at + chunk])
    applier.finish()
    assert bytes(new.data) == target
    assert applier.blocks_done == 4


def test_notes_after_the_last_payload_are_optional():
    data, target = patch(MIXED, notes=b"for people")
    for fed in (data, data[: -len(b"for people")], data + bytes(100)):
        new = MemoryFile()
        applier = Applier(MemoryFile(OLD), new)
        applier.feed(fed)
        applier.finish()
        assert bytes(new.data) == target


def test_complete_blocks_are_written_before_the_patch_is_complete():
    data, target = patch(MIXED)
    new = MemoryFile()
    applier = Applier(MemoryFile(OLD), new)
    assert applier.feed(data[:-1]) == 3
    assert bytes(new.data) == target[:-3]
    with pytest.raises(PatchTruncated, match="patch_truncated: the patch ends after block 3"):
        applier.finish()


def test_a_patch_without_a_complete_head_is_truncated():
    applier = Applier(MemoryFile(OLD), MemoryFile())
    assert applier.feed(patch(MIXED)[0][:100]) == 0
    with pytest.raises(PatchTruncated, match="patch_truncated: the patch ends after block 0"):
        applier.finish()


def test_a_corrupt_payload_is_rejected_before_decoding_and_nothing_is_written():
    data, _ = patch([(BlockOp.CODED, 0, b"hello")])
    new = MemoryFile()
    with pytest.raises(PatchCorrupt, match="patch_corrupt: the payload of block 0 has the wrong digest"):
        Applier(MemoryFile(OLD), new).feed(data[:-1] + b"!")
    assert not new.data


def test_a_short_or_wrong_source_has_its_own_error():
    data, _ = patch(MIXED)
    with pytest.raises(BaseMissing, match="base_missing: 1048576 bytes at 1048576 of 1048576"):
        Applier(MemoryFile(OLD[:CHUNK_SIZE]), MemoryFile()).feed(data)
    with pytest.raises(BaseMismatch, match="base_mismatch: block 1 has the wrong digest"):
        Applier(MemoryFile(bytes(len(OLD))), MemoryFile()).feed(data)


def test_files_are_patched_and_reversed(tmp_path: Path):
    data, target = patch([(BlockOp.COPY, len(OLD), b""), (BlockOp.CODED, 0, b"appended")])
    for name, content in (("old", OLD), ("patch", data)):
        (tmp_path / name).write_bytes(content)
    done = apply_patch(tmp_path / "old", tmp_path / "patch", tmp_path / "new")
    assert (tmp_path / "new").read_bytes() == target
    assert (done.blocks, done.bytes_written) == (2, len(target))
    reverse_patch(tmp_path / "new", tmp_path / "patch", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == OLD


def test_reversing_from_another_file_is_rejected(tmp_path: Path):
    data, target = patch([(BlockOp.COPY, len(OLD), b"")])
    (tmp_path / "patch").write_bytes(data)
    (tmp_path / "new").write_bytes(target[:-1] + b"!")
    with pytest.raises(BaseMismatch, match="base_mismatch: block 0 of the new file has the wrong digest"):
        reverse_patch(tmp_path / "new", tmp_path / "patch", tmp_path / "back")
    (tmp_path / "new").write_bytes(target[:-1])
    with pytest.raises(BaseMissing, match="base_missing: 462848 bytes at 2097152"):
        reverse_patch(tmp_path / "new", tmp_path / "patch", tmp_path / "back")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "patch"]


def test_a_patch_that_is_not_reversible_is_not_reversed(tmp_path: Path):
    data, target = patch(MIXED)
    (tmp_path / "patch").write_bytes(data)
    (tmp_path / "new").write_bytes(target)
    with pytest.raises(NotReversible, match="not_reversible: the patch was not built as reversible"):
        reverse_patch(tmp_path / "new", tmp_path / "patch", tmp_path / "back")
