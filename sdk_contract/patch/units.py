"""Fields of units: one item of each of many records, without a loop in Python."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sdk_contract.patch.plan import Field
from sdk_contract.patch.transforms import Bytes


def take_field(parts: Sequence[Bytes], stride: int, field: Field) -> Bytes:
    """A field's bytes of all units, one after the other.

    Args:
        parts: whole units each, contiguous.
        stride: bytes of a unit.
        field: which part of each.
    """
    items = [_items(part, stride, field) for part in parts]
    return np.concatenate(items or [_items(np.empty(0, np.uint8), stride, field)]).view(np.uint8)


def put_field(parts: Sequence[Bytes], stride: int, field: Field, values: Bytes) -> None:
    """Store what `take_field` takes."""
    items, at = np.ascontiguousarray(values).view(f"V{field.length}"), 0
    for part in parts:
        end = at + len(part) // stride
        _items(part, stride, field)[:] = items[at:end]
        at = end


def _items(units: Bytes, stride: int, field: Field) -> npt.NDArray[np.void]:
    # As items of a void type, because NumPy copies rows of a few bytes ten times slower than items.
    return np.ndarray((len(units) // stride,), f"V{field.length}", units.data, field.offset, (stride,))
