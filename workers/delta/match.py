"""Which tensor of the new file is which tensor of the old one."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable

from workers.delta.layouts.layout import Layout, RangeReader, Tensor

CHUNK = 1 << 20
Kind = tuple[str, int]


def match_tensors(source: RangeReader, old: Layout, target: RangeReader, new: Layout) -> dict[str, Tensor]:
    """Old tensors by the names of the new ones.

    By name first. What is left is matched by dtype, size and digest (renamed), and then, where the same
    number of tensors of one dtype and size is left on both sides, by order (renamed and trained).

    Args:
        source: the old file, for digests.
        old: its layout.
        target: the new file.
        new: its layout.

    Raises:
        EOFError, OSError: a file cannot be read.
    """
    by_name = {tensor.name: tensor for tensor in old.tensors}
    matched = {tensor.name: by_name[tensor.name] for tensor in new.tensors if tensor.name in by_name}
    left_old = [tensor for tensor in old.tensors if tensor.name not in matched]
    left_new = [tensor for tensor in new.tensors if tensor.name not in matched]
    if left_old and left_new:
        matched |= _by_digest(source, left_old, target, left_new)
        taken = {tensor.name for tensor in matched.values()}
        left_old = [tensor for tensor in left_old if tensor.name not in taken]
        matched |= _by_order(left_old, [tensor for tensor in left_new if tensor.name not in matched])
    return matched


def _kind(tensor: Tensor) -> Kind:
    return tensor.dtype, tensor.size


def _grouped(tensors: Iterable[Tensor], key: Callable[[Tensor], Hashable]) -> dict[Hashable, list[Tensor]]:
    groups: dict[Hashable, list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        groups[key(tensor)].append(tensor)
    return groups


def _by_digest(
    source: RangeReader, old: list[Tensor], target: RangeReader, new: list[Tensor]
) -> dict[str, Tensor]:
    # Only tensors with a possible partner are read.
    kinds = {_kind(tensor) for tensor in old} & {_kind(tensor) for tensor in new}
    candidates = _grouped(
        (tensor for tensor in old if _kind(tensor) in kinds), lambda tensor: _digest(source, tensor)
    )
    matched: dict[str, Tensor] = {}
    for tensor in new:
        if _kind(tensor) in kinds and (same := candidates.get(_digest(target, tensor))):
            matched[tensor.name] = same.pop(0) if len(same) > 1 else same[0]
    return matched


def _by_order(old: list[Tensor], new: list[Tensor]) -> dict[str, Tensor]:
    groups = _grouped(old, _kind)
    matched: dict[str, Tensor] = {}
    for kind, tensors in _grouped(new, _kind).items():
        partners = groups.get(kind, [])
        if len(partners) == len(tensors):
            matched |= {tensor.name: partner for tensor, partner in zip(tensors, partners, strict=True)}
    return matched


def _digest(reader: RangeReader, tensor: Tensor) -> bytes:
    digest = hashlib.sha256(repr(_kind(tensor)).encode())
    for at in range(0, tensor.size, CHUNK):
        digest.update(reader.read(tensor.offset + at, min(CHUNK, tensor.size - at)))
    return digest.digest()
