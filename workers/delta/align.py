"""Which bytes of the new file come from which bytes of the old one."""

from collections.abc import Iterator
from dataclasses import dataclass

from sdk_contract.patch.plan import Lane
from workers.delta.lanes import BSDIFF, LITERAL, delta_lane
from workers.delta.layouts.layout import Layout, Tensor

WINDOW = 4 << 20


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive target bytes made from consecutive source bytes.

    Attributes:
        lane: how; literal where nothing in the source is like it.
        target_offset, size: the target range.
        source_offset, source_size: the source range; size 0 for literal.
        tensor: name of the target tensor, or "" between tensors.
    """

    lane: Lane
    target_offset: int
    size: int
    source_offset: int = 0
    source_size: int = 0
    tensor: str = ""


def align(source: Layout, target: Layout) -> Iterator[Piece]:
    """Pieces that fill the target in order; they may be as long as a tensor."""
    by_name = {tensor.name: tensor for tensor in source.tensors}
    at = source_at = 0
    for tensor in target.tensors:
        match = by_name.get(tensor.name)
        source_end = match.offset if match else source_at
        yield from _between(at, tensor.offset, source_at, max(source_end, source_at))
        if tensor.size:
            yield _tensor(tensor, match)
        at = tensor.offset + tensor.size
        source_at = match.offset + match.size if match else source_at
    yield from _between(at, target.size, source_at, source.size)


def _tensor(new: Tensor, old: Tensor | None) -> Piece:
    if old is None or old.dtype != new.dtype or old.size != new.size:
        return Piece(LITERAL, new.offset, new.size, tensor=new.name)
    return Piece(delta_lane(new.dtype), new.offset, new.size, old.offset, old.size, new.name)


def _between(begin: int, end: int, source_begin: int, source_end: int) -> Iterator[Piece]:
    """What lies between two tensors, against what lies between the same two in the source."""
    if begin == end:
        return
    size, source_size = end - begin, source_end - source_begin
    if source_size == 0 or source_size > WINDOW or size > WINDOW:
        yield Piece(LITERAL, begin, size)
    else:
        yield Piece(BSDIFF, begin, size, source_begin, source_size)
