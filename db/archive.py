"""The archive's format: float32 or float64 columns as bytes, without loss.

Of each column: the bits of its numbers as unsigned integers in the order of the numbers; their second
differences, modulo 2^32 or 2^64; these with the sign as the last bit; of all of them first the first bytes,
then the second bytes, and so on. All columns are compressed by zlib: consecutive epochs differ little, so
most bytes are 0. docs/schema.md has the way back in a few lines of NumPy.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack(values: NDArray[Any]) -> bytes:
    """The archive of float32 or float64 [epochs, columns], which has at least one value."""
    size = values.itemsize
    top = 8 * size - 1
    columns = np.ascontiguousarray(values.T, f"<f{size}").view(f"<u{size}")
    rows = np.where(columns >> top == 1, ~columns, columns | (1 << top))
    for _ in range(2):
        rows = np.diff(rows, axis=1, prepend=rows.dtype.type(0))
    signed_last = (rows << 1) ^ -(rows >> top)
    shuffled = signed_last.view(np.uint8).reshape(*rows.shape, size).swapaxes(1, 2)
    return zlib.compress(shuffled.tobytes())


@lru_cache(maxsize=4)  # values and times of two models, whose epochs may be asked for one by one
def unpack(packed: bytes, epochs: int, columns: int, size: int) -> NDArray[Any]:
    """float32 or float64 [epochs, columns] from `pack`, read only; `size` is 4 or 8 bytes a number.

    Raises ValueError if the bytes are no such archive.
    """
    try:
        content = zlib.decompress(packed)
    except zlib.error as error:
        raise ValueError(f"the archive cannot be unpacked: {error}") from None
    if len(content) != epochs * columns * size:
        raise ValueError(f"the archive has {len(content):,} bytes, not {epochs * columns * size:,}")
    top = 8 * size - 1
    planes = np.frombuffer(content, np.uint8).reshape(columns, size, epochs)
    signed_last = np.ascontiguousarray(planes.swapaxes(1, 2)).view(f"<u{size}")[..., 0]
    rows = (signed_last >> 1) ^ -(signed_last & 1)
    rows = rows.cumsum(1, rows.dtype).cumsum(1, rows.dtype)
    bits = np.where(rows >> top == 1, rows ^ (1 << top), ~rows)
    values = bits.T.copy().view(f"<f{size}")
    values.flags.writeable = False
    return values
