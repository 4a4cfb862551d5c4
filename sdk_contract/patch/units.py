"""Fields of units: one item of each of many records, without a loop in Python."""

import numpy as np
import numpy.typing as npt

from sdk_contract.patch.plan import Field
from sdk_contract.patch.transforms import Bytes


def take_field(units: Bytes, stride: int, field: Field) -> Bytes:
    """A field's bytes of all units, one after the other.

    Args:
        units: whole units, contiguous.
        stride: bytes of a unit.
        field: which part of each.
    """
    return _items(units, stride, field).copy().view(np.uint8)


def put_field(units: Bytes, stride: int, field: Field, values: Bytes) -> None:
    """Store what `take_field` takes."""
    _items(units, stride, field)[:] = np.ascontiguousarray(values).view(f"V{field.length}")


def _items(units: Bytes, stride: int, field: Field) -> npt.NDArray[np.void]:
    # As items of a void type, because NumPy copies rows of a few bytes ten times slower than items.
    return np.ndarray((len(units) // stride,), f"V{field.length}", units.data, field.offset, (stride,))
