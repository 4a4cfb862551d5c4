"""Encoding one block: from source and target bytes to a payload."""

import hashlib
from dataclasses import dataclass

import numpy as np

from sdk_contract.patch.container import DIGEST_SIZE
from sdk_contract.patch.groups import BY_EXPONENT
from sdk_contract.patch.plan import Lane, LaneKind
from sdk_contract.patch.transforms import Bytes, Element, difference, has_key, key_of
from workers.delta.align import Piece
from workers.delta.bsdiff import encode_bsdiff
from workers.delta.lanes import COPY, LITERAL, ZERO
from workers.delta.layouts.layout import RangeReader
from workers.delta.runs import blob, encode_run, signed, varint

KEYED_MIN = 4096
GROUP_MIN = 2048
LITERAL_LEVEL = 6


@dataclass(frozen=True, slots=True)
class EncodedPiece:
    """What became of a piece: its lane, how many values changed."""

    piece: Piece
    lane: Lane
    changed: int
    count: int


@dataclass(frozen=True, slots=True)
class EncodedBlock:
    """A block without the digest that needs its predecessors.

    Attributes:
        pieces: what it consists of.
        target: its target bytes.
        source: the source bytes that it reads, in segment order.
        payload: the coded bytes; empty for a copy or zero block.
    """

    pieces: tuple[EncodedPiece, ...]
    target: bytes
    source: bytes
    payload: bytes

    @property
    def source_digest(self) -> bytes:
        """First 16 bytes of the SHA-256 of the source bytes."""
        return hashlib.sha256(self.source).digest()[:DIGEST_SIZE]


def encode_block(
    pieces: tuple[Piece, ...], source: RangeReader, target: RangeReader, *, reversible: bool = False
) -> EncodedBlock:
    """Read the pieces' ranges and code them.

    Args:
        pieces: consecutive target ranges.
        source: the old file.
        target: the new file.
        reversible: group differences only in ways that the new values alone can undo.
    """
    begin, size = pieces[0].target_offset, sum(piece.size for piece in pieces)
    new = np.frombuffer(target.read(begin, size), np.uint8)
    chosen, olds, news = [], [], []
    for piece in pieces:
        at = piece.target_offset - begin
        part = new[at : at + piece.size]
        old = np.frombuffer(source.read(piece.source_offset, piece.source_size), np.uint8)
        lane = _lane_for(piece, old, part)
        chosen.append(lane)
        olds.append(old if _reads(lane) else old[:0])
        news.append(part)
    payload, changed = _payload(pieces, chosen, olds, news, reversible=reversible)
    encoded = tuple(
        EncodedPiece(piece, lane, change, piece.size)
        for piece, lane, change in zip(pieces, chosen, changed, strict=True)
    )
    return EncodedBlock(encoded, new.tobytes(), b"".join(old.tobytes() for old in olds), payload)


def _reads(lane: Lane) -> bool:
    return lane.kind not in (LaneKind.ZERO, LaneKind.LITERAL)


def _lane_for(piece: Piece, old: Bytes, new: Bytes) -> Lane:
    if len(old) == len(new) and np.array_equal(old, new):
        return COPY
    if not new.any():
        return ZERO
    return piece.lane if piece.source_size else LITERAL


def _payload(
    pieces: tuple[Piece, ...], chosen: list[Lane], olds: list[Bytes], news: list[Bytes], *, reversible: bool
) -> tuple[bytes, list[int]]:
    lanes = sorted(set(chosen), key=lambda lane: (lane.kind, lane.stride, lane.fields))
    changed = [0] * len(pieces)
    if len(pieces) == 1 and lanes[0].kind in (LaneKind.COPY, LaneKind.ZERO):
        return b"", changed
    parts = [_front(pieces, chosen, lanes)]
    for lane in lanes:
        members = [i for i, own in enumerate(chosen) if own == lane]
        if lane.kind is LaneKind.LITERAL:
            parts.append(_literal(b"".join(news[i].tobytes() for i in members)))
        elif lane.kind is LaneKind.BSDIFF:
            parts.extend(encode_bsdiff(olds[i].tobytes(), news[i].tobytes()) for i in members)
        elif lane.kind is LaneKind.DELTA:
            old, new = (_join([side[i] for i in members]) for side in (olds, news))
            parts.append(_delta(lane, old, new, reversible=reversible))
    return b"".join(parts), changed


def _join(parts: list[Bytes]) -> Bytes:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _literal(data: bytes) -> bytes:
    return min(blob(data), blob(data, level=LITERAL_LEVEL), key=len)


def _front(pieces: tuple[Piece, ...], chosen: list[Lane], lanes: list[Lane]) -> bytes:
    parts = [varint(len(lanes))]
    for lane in lanes:
        parts.append(bytes((lane.kind,)))
        if lane.kind is LaneKind.DELTA:
            parts.append(varint(lane.stride) + varint(len(lane.fields)))
            parts.extend(varint(field.length) + bytes((field.element,)) for field in lane.fields)
    parts.append(varint(len(pieces)))
    reading = [p for p, lane in zip(pieces, chosen, strict=True) if _reads(lane)]
    at = min((p.source_offset for p in reading), default=0)
    for piece, lane in zip(pieces, chosen, strict=True):
        parts.append(varint(lanes.index(lane)) + varint(piece.size))
        if _reads(lane):
            parts.append(signed(piece.source_offset - at))
            at = piece.source_offset + piece.source_size
        if lane.kind is LaneKind.BSDIFF:
            parts.append(varint(piece.source_size))
    return b"".join(parts)


def _delta(lane: Lane, old: Bytes, new: Bytes, *, reversible: bool) -> bytes:
    if len(lane.fields) == 1:
        return _field(lane.fields[0].element, old, new, reversible=reversible)
    parts = []
    for field in lane.fields:
        part = slice(field.offset, field.offset + field.length)
        before, after = (
            np.ascontiguousarray(side.reshape(-1, lane.stride)[:, part]).reshape(-1) for side in (old, new)
        )
        parts.append(_field(field.element, before, after, reversible=reversible))
    return b"".join(parts)


def _field(element: Element, old: Bytes, new: Bytes, *, reversible: bool) -> bytes:
    symbols = difference(element, old, new)
    if reversible or not has_key(element) or len(symbols) < KEYED_MIN:
        return b"\0" + encode_run(symbols)
    keys = key_of(element, old)
    cuts, ends = _cuts(keys)
    if not cuts:
        return b"\0" + encode_run(symbols)
    groups = np.searchsorted(cuts, np.arange(256), side="right").astype(np.uint8)
    ordered = symbols[np.argsort(np.take(groups, keys), kind="stable")]
    begins = [0, *ends[:-1]]
    runs = [encode_run(ordered[begin:end]) for begin, end in zip(begins, ends, strict=True)]
    return bytes((BY_EXPONENT, len(cuts))) + bytes(cuts) + b"".join(runs)


def _cuts(keys: Bytes) -> tuple[list[int], list[int]]:
    """Exponents at which a new group starts, and where each group ends in sorted order."""
    counts = np.bincount(keys, minlength=256)
    cuts, ends, total, held = [], [], 0, 0
    for exponent in range(256):
        if held >= GROUP_MIN and total < len(keys) - GROUP_MIN and counts[exponent]:
            cuts.append(exponent)
            ends.append(total)
            held = 0
        held += int(counts[exponent])
        total += int(counts[exponent])
    return cuts, [*ends, len(keys)]
