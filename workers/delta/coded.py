"""Encoded blocks, and what of them goes from one process to another."""

from dataclasses import dataclass
from typing import NamedTuple, Self

from sdk_contract.patch.plan import Lane, LaneKind
from workers.delta.align import Piece


@dataclass(frozen=True, slots=True)
class EncodedPiece:
    """What became of a piece.

    Attributes:
        piece: the ranges.
        lane: how it is made; copy or zero where the bytes turned out so.
        values: values in it (bytes, for quantised blocks and between tensors).
        changed: values that differ from the source's.
        cost: its share of the payload, in bytes.
    """

    piece: Piece
    lane: Lane
    values: int
    changed: int
    cost: int

    @property
    def reads(self) -> bool:
        """Whether it needs source bytes."""
        return reads(self.lane)


@dataclass(frozen=True, slots=True)
class EncodedBlock:
    """A block without the digest that needs its predecessors.

    Attributes:
        pieces: what it consists of.
        target: its target bytes.
        source: the source bytes that it reads, in segment order; None where only another process read them.
        payload: the coded bytes; empty for a copy or zero block.
        reversible: its target bytes give its source bytes back.
        source_digest: first 16 bytes of the SHA-256 of the source bytes; zeros unless `reversible` was asked for.
        payload_digest: the same of the payload; zeros when there is none.
    """

    pieces: tuple[EncodedPiece, ...]
    target: bytes
    source: bytes | memoryview | None
    payload: bytes
    reversible: bool
    source_digest: bytes
    payload_digest: bytes


def reads(lane: Lane) -> bool:
    """Whether segments of a lane need source bytes."""
    return lane.kind not in (LaneKind.ZERO, LaneKind.LITERAL)


class Coded(NamedTuple):
    """What an encoded block adds to its pieces and to the files' bytes, which its receiver has or reads.

    Attributes:
        payload, reversible, source_digest, payload_digest: as in `EncodedBlock`.
        pieces: for each piece, its lane, values, changed and cost as in `EncodedPiece`.
    """

    payload: bytes
    reversible: bool
    source_digest: bytes
    payload_digest: bytes
    pieces: tuple[tuple[Lane, int, int, int], ...]

    @classmethod
    def of(cls, block: EncodedBlock) -> Self:
        """What is left of a block without what its receiver has."""
        pieces = tuple((each.lane, each.values, each.changed, each.cost) for each in block.pieces)
        return cls(block.payload, block.reversible, block.source_digest, block.payload_digest, pieces)

    def of_pieces(self, pieces: tuple[Piece, ...]) -> tuple[EncodedPiece, ...]:
        """The encoded pieces again."""
        return tuple(EncodedPiece(piece, *rest) for piece, rest in zip(pieces, self.pieces, strict=True))
