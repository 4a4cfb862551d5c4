"""Builds minimal patches, which only copy from the source and write zeros. Realistic patches come from the vectors."""

import hashlib
from dataclasses import dataclass

from sdk_contract.patch.container import EMPTY_DIGEST, BlockOp, BlockRecord, Header, pack_head

BLOCK_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive bytes of the target: copied from `offset` of the source, or zeros if `offset` is None."""

    size: int
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class BuiltPatch:
    """A patch, and the values of its descriptor."""

    data: bytes
    index_sha256: str
    target: bytes
    working_set: int = BLOCK_LIMIT


def build_patch(source: bytes, pieces: list[Piece]) -> BuiltPatch:
    """A GLP1 patch without payloads: one record per piece."""
    target = b""
    records = []
    for piece in pieces:
        start = piece.offset or 0
        target += bytes(piece.size) if piece.offset is None else source[start : start + piece.size]
        records.append(_record(piece, hashlib.sha256(target).digest()))
    header = Header(
        reversible=False,
        source_size=len(source),
        target_size=len(target),
        source_sha256=hashlib.sha256(source).digest(),
        target_sha256=hashlib.sha256(target).digest(),
        payload_size=0,
        block_count=len(records),
        block_limit=BLOCK_LIMIT,
        working_set=BLOCK_LIMIT,
    )
    head = pack_head(header, records)
    return BuiltPatch(head, hashlib.sha256(head).hexdigest(), target)


def _record(piece: Piece, target_sha256: bytes) -> BlockRecord:
    """A record without payload; `target_sha256` covers the target from its start to the end of the piece."""
    size = 0 if piece.offset is None else piece.size
    return BlockRecord(
        op=BlockOp.ZERO if piece.offset is None else BlockOp.COPY,
        reversible=False,
        target_size=piece.size,
        payload_size=0,
        source_offset=piece.offset or 0,
        source_span=size,
        source_size=size,
        payload_digest=EMPTY_DIGEST,
        source_digest=EMPTY_DIGEST,
        target_digest=target_sha256[: len(EMPTY_DIGEST)],
    )
