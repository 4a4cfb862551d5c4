"""Gathers and scatters one field of all units, without a loop in Python."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sdk_contract.patch.payload.block_plan import Field
from sdk_contract.patch.payload.elements import Bytes


def gather_field(parts: Sequence[Bytes], stride: int, field: Field) -> Bytes:
    """Concatenate the bytes of a field of all units.

    Args:
        parts: arrays of complete units, each contiguous.
        stride: bytes of a unit.
        field: the field to gather.
    """
    items = [_field_view(part, stride, field) for part in parts]
    return np.concatenate(items or [_field_view(np.empty(0, np.uint8), stride, field)]).view(np.uint8)


def scatter_field(parts: Sequence[Bytes], stride: int, field: Field, values: Bytes) -> None:
    """Store a field of all units; the inverse of `gather_field`."""
    items, at = np.ascontiguousarray(values).view(f"V{field.length}"), 0
    for part in parts:
        end = at + len(part) // stride
        _field_view(part, stride, field)[:] = items[at:end]
        at = end


def _field_view(units: Bytes, stride: int, field: Field) -> npt.NDArray[np.void]:
    # A void type, because NumPy copies rows of a few bytes ten times slower than items.
    return np.ndarray((len(units) // stride,), f"V{field.length}", units.data, field.offset, (stride,))
