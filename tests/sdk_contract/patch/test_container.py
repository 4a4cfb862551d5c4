"""The header and the index are checked before anything else is used."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from sdk_contract.patch.container import BlockOp, BlockRecord, Header, PatchLimits, pack_head, parse_header
from sdk_contract.patch.errors import IndexMismatch, PatchCorrupt, PatchTooLarge, PatchUnsupported
from sdk_contract.patch.index import parse_index

TARGET = hashlib.sha256(b"target").digest()


def header(**changes: Any) -> Header:
    plain = Header(
        reversible=False,
        source_size=1000,
        target_size=300,
        source_sha256=bytes(32),
        target_sha256=TARGET,
        payload_size=40,
        block_count=2,
        block_limit=1 << 20,
        working_set=1 << 20,
    )
    return replace(plain, **changes)


def records(**changes: Any) -> list[BlockRecord]:
    first = BlockRecord(BlockOp.COPY, True, 100, 0, 50, 100, 100, bytes(16), bytes(16), bytes(16))
    second = BlockRecord(BlockOp.CODED, False, 200, 40, 0, 1000, 200, bytes(16), bytes(16), TARGET[:16])
    return [first, replace(second, **changes)]


def test_a_packed_head_is_parsed_unchanged():
    head = pack_head(header(), records())
    index = parse_index(head + b"payload")
    assert index.header == header()
    assert list(index.records) == records()
    assert index.sha256 == hashlib.sha256(head).digest()
    assert [index.target_offset(block) for block in range(3)] == [0, 100, 300]
    assert [index.payload_offset(block) for block in range(3)] == [len(head), len(head), len(head) + 40]


def test_the_digest_is_compared_before_records_are_parsed():
    broken = bytearray(pack_head(header(), records()))
    broken[-80] ^= 0xFF
    with pytest.raises(IndexMismatch, match="index_mismatch"):
        parse_index(bytes(broken), index_sha256=hashlib.sha256(pack_head(header(), records())).digest())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_size": 201}, "the blocks do not add up to the target size"),
        ({"payload_size": 41}, "the payloads do not add up to the payload size"),
        ({"target_size": 0}, "a block has no target bytes"),
        ({"source_offset": 1001}, "a block reads beyond the end of the source"),
        ({"source_offset": 1, "source_span": 1000}, "a block reads beyond the end of the source"),
        ({"target_digest": bytes(16)}, "the last block's digest is not the target's"),
    ],
)
def test_records_that_violate_a_rule_are_rejected(changes, message):
    with pytest.raises(PatchCorrupt, match=message):
        parse_index(pack_head(header(), records(**changes)))


def test_a_reversible_patch_has_only_reversible_blocks():
    with pytest.raises(
        PatchCorrupt, match="patch_corrupt: the patch is marked reversible, but some of its blocks"
    ):
        parse_index(pack_head(header(reversible=True), records()))


@pytest.mark.parametrize(
    ("at", "message"),
    [(8, "version 65, flags 0x0"), (12, "version 1, flags 0x40"), (60, "version 1, flags 0x0")],
)
def test_later_versions_and_unknown_flags_are_unsupported(at, message):
    head = bytearray(pack_head(header(), records()))
    head[at] |= 0x40
    with pytest.raises(PatchUnsupported, match=message):
        parse_index(bytes(head))


def test_a_patch_above_the_readers_limits_is_rejected_before_it_is_read():
    with pytest.raises(PatchTooLarge, match="patch_too_large: index of 1073741824 blocks"):
        parse_header(header(block_count=1 << 30).pack())
    with pytest.raises(
        PatchTooLarge, match="patch_too_large: blocks of 1048576 bytes, working set of 1048576 bytes"
    ):
        parse_header(header().pack(), PatchLimits(max_working_set=1000))
    with pytest.raises(
        PatchTooLarge, match="patch_too_large: blocks of 1073741824 bytes, working set of 1048576"
    ):
        parse_header(header(block_limit=1 << 30).pack())


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (0, "not a GLP1 patch"),
        (7, "not a GLP1 patch"),
        (127, "not a GLP1 patch"),
        (128, "the index is incomplete"),
        (200, "the index is incomplete"),
    ],
)
def test_an_incomplete_head_is_rejected(length, message):
    with pytest.raises(PatchCorrupt, match=message):
        parse_index(pack_head(header(), records())[:length])
