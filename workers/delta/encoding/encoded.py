"""Encoded blocks, and the part of them that an encoder process returns."""

from dataclasses import dataclass
from typing import NamedTuple, Self

from sdk_contract.patch.payload.block_plan import Lane, LaneKind
from workers.delta.matching.alignment import Piece


@dataclass(frozen=True, slots=True)
class EncodedPiece:
    """A piece after encoding.

    Attributes:
        piece: the target and source ranges.
        lane: how the bytes are made; copy or zero if the bytes allow it.
        values: number of values (bytes, for quantized blocks and between tensors).
        changed: number of values that differ from the source.
        cost: share of the payload in bytes.
    """

    piece: Piece
    lane: Lane
    values: int
    changed: int
    cost: int

    @property
    def reads_source(self) -> bool:
        """Whether the piece needs source bytes."""
        return lane_reads_source(self.lane)


@dataclass(frozen=True, slots=True)
class EncodedBlock:
    """An encoded block. The writer adds the target digest, which depends on the blocks before.

    Attributes:
        pieces: the pieces of the block.
        target: the target bytes.
        source: the source bytes that the block reads, in segment order; None if only another process has read them.
        payload: the encoded bytes; empty for a copy or zero block.
        reversible: whether the source bytes can be restored from the target bytes.
        source_digest: first 16 bytes of the SHA-256 of the source bytes; zeros unless a reversible patch was requested.
        payload_digest: first 16 bytes of the SHA-256 of the payload; zeros if it is empty.
    """

    pieces: tuple[EncodedPiece, ...]
    target: bytes
    source: bytes | memoryview | None
    payload: bytes
    reversible: bool
    source_digest: bytes
    payload_digest: bytes


def lane_reads_source(lane: Lane) -> bool:
    """Whether segments of a lane need source bytes."""
    return lane.kind not in (LaneKind.ZERO, LaneKind.LITERAL)


class BlockResult(NamedTuple):
    """The result of encoding a block, without the pieces and file bytes that the receiver has already.

    Attributes:
        payload, reversible, source_digest, payload_digest: as in `EncodedBlock`.
        pieces: lane, values, changed and cost of each piece, as in `EncodedPiece`.
    """

    payload: bytes
    reversible: bool
    source_digest: bytes
    payload_digest: bytes
    pieces: tuple[tuple[Lane, int, int, int], ...]

    @classmethod
    def from_block(cls, block: EncodedBlock) -> Self:
        """Reduce an encoded block to its result."""
        pieces = tuple((piece.lane, piece.values, piece.changed, piece.cost) for piece in block.pieces)
        return cls(block.payload, block.reversible, block.source_digest, block.payload_digest, pieces)

    def restore_pieces(self, pieces: tuple[Piece, ...]) -> tuple[EncodedPiece, ...]:
        """Combine the block's pieces with their results."""
        return tuple(EncodedPiece(piece, *rest) for piece, rest in zip(pieces, self.pieces, strict=True))
