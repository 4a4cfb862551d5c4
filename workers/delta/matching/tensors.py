"""Match the tensors of the new file to those of the old one."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable

from workers.delta.layouts.layout import Layout, RangeReader, Tensor

CHUNK_BYTES = 1 << 20
Kind = tuple[str, int]


def match_tensors(source: RangeReader, old: Layout, target: RangeReader, new: Layout) -> dict[str, Tensor]:
    """Map the names of new tensors to old tensors.

    Tensors match by name first. The rest match by dtype, size and digest (renamed), and then by order where both files
    have the same number of unmatched tensors of one dtype and size (renamed and trained).

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
    unmatched_old = [tensor for tensor in old.tensors if tensor.name not in matched]
    unmatched_new = [tensor for tensor in new.tensors if tensor.name not in matched]
    if unmatched_old and unmatched_new:
        matched |= _by_digest(source, unmatched_old, target, unmatched_new)
        used = {tensor.name for tensor in matched.values()}
        unmatched_old = [tensor for tensor in unmatched_old if tensor.name not in used]
        matched |= _by_order(
            unmatched_old, [tensor for tensor in unmatched_new if tensor.name not in matched]
        )
    return matched


def _kind(tensor: Tensor) -> Kind:
    return tensor.dtype, tensor.size


def _group_by(tensors: Iterable[Tensor], key: Callable[[Tensor], Hashable]) -> dict[Hashable, list[Tensor]]:
    groups: dict[Hashable, list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        groups[key(tensor)].append(tensor)
    return groups


def _by_digest(
    source: RangeReader, old: list[Tensor], target: RangeReader, new: list[Tensor]
) -> dict[str, Tensor]:
    # Read only tensors whose dtype and size occur in both files.
    kinds = {_kind(tensor) for tensor in old} & {_kind(tensor) for tensor in new}
    candidates = _group_by(
        (tensor for tensor in old if _kind(tensor) in kinds), lambda tensor: _digest(source, tensor)
    )
    matched: dict[str, Tensor] = {}
    for tensor in new:
        if _kind(tensor) in kinds and (equal := candidates.get(_digest(target, tensor))):
            matched[tensor.name] = equal.pop(0) if len(equal) > 1 else equal[0]
    return matched


def _by_order(old: list[Tensor], new: list[Tensor]) -> dict[str, Tensor]:
    old_by_kind = _group_by(old, _kind)
    matched: dict[str, Tensor] = {}
    for kind, tensors in _group_by(new, _kind).items():
        candidates = old_by_kind.get(kind, [])
        if len(candidates) == len(tensors):
            matched |= {tensor.name: match for tensor, match in zip(tensors, candidates, strict=True)}
    return matched


def _digest(reader: RangeReader, tensor: Tensor) -> bytes:
    digest = hashlib.sha256(repr(_kind(tensor)).encode())
    for start in range(0, tensor.size, CHUNK_BYTES):
        digest.update(reader.read(tensor.offset + start, min(CHUNK_BYTES, tensor.size - start)))
    return digest.digest()
