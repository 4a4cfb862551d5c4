"""Encoded blocks on their way from one process to another."""

from typing import NamedTuple, Self

from sdk_contract.patch.plan import Lane
from workers.delta.align import Piece
from workers.delta.encode import EncodedBlock, EncodedPiece


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
