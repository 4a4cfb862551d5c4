"""The simplest patches: copies of the old file and zeros. Real ones come from the golden cases."""

import hashlib
from dataclasses import dataclass

from sdk_contract.patch.container import EMPTY_DIGEST, Header, Op, Record, pack_head


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of the target: from `offset` of the source, or zeros where that is absent."""

    size: int
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Patch:
    """A patch and what its descriptor says of it."""

    data: bytes
    index_sha256: str
    target: bytes
    working_set: int = 1 << 20


def build(source: bytes, pieces: list[Piece]) -> Patch:
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
        block_limit=1 << 20,
        working_set=1 << 20,
    )
    head = pack_head(header, records)
    return Patch(head, hashlib.sha256(head).hexdigest(), target)


def _record(piece: Piece, so_far: bytes) -> Record:
    """A block without payload; `so_far` is the digest of the target up to its end."""
    read = 0 if piece.offset is None else piece.size
    return Record(
        op=Op.ZERO if piece.offset is None else Op.COPY,
        reversible=False,
        target_size=piece.size,
        payload_size=0,
        source_offset=piece.offset or 0,
        source_span=read,
        source_size=read,
        payload_digest=EMPTY_DIGEST,
        source_digest=EMPTY_DIGEST,
        target_digest=so_far[: len(EMPTY_DIGEST)],
    )
