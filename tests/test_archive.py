"""The archive's format: every bit comes back, also by the lines of docs/schema.md, and damage is noticed."""

from __future__ import annotations

import re
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from db.archive import pack, unpack
from tests.conftest import ROOT

(LINES,) = re.findall(r"```python\n(.+?)```", (ROOT / "docs" / "schema.md").read_text(), re.DOTALL)
page: dict[str, Any] = {}
exec(LINES, page)
SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 6))
ANY = st.sampled_from([4, 8]).flatmap(lambda size: arrays.arrays(f"u{size}", SHAPES).map(as_floats))
SPECIAL = [0.0, -0.0, 1e-45, -1e-45, np.inf, -np.inf, np.nan, -np.nan, 3.4028235e38, -3.4028235e38]


def as_floats(bits: Any) -> Any:
    return bits.view(f"f{bits.itemsize}")


@pytest.mark.thorough
@given(ANY)
@example(np.array([SPECIAL], np.float32))
@example(np.array([SPECIAL], np.float32).T)
def test_any_numbers_come_back_bit_by_bit(values: Any) -> None:
    packed, shape = pack(values), (*values.shape, values.itemsize)
    assert unpack(packed, *shape).tobytes() == values.tobytes()
    assert page["unpack"](packed, *shape).tobytes() == values.tobytes()


def test_numbers_that_lie_in_memory_in_another_order_are_packed_alike() -> None:
    values = np.random.RandomState(0).randn(50, 3).astype(np.float32)
    assert pack(np.asfortranarray(values)) == pack(values) == pack(np.repeat(values, 2, axis=0)[::2])


def test_an_archive_of_today_is_unpacked_for_ever() -> None:
    packed = bytes.fromhex("789cfbcfc0c0f01f8a1b1a1818fefdfef3fb3f04d4ffaf6f600400e81e1165")
    expected = np.array([[1, -0.0], [0.5, 2], [0.25, -1], [0.125, 3]], np.float32)
    assert unpack(packed, 4, 2, 4).tobytes() == expected.tobytes()


def test_a_smooth_curve_takes_a_tenth_of_its_bytes_or_less() -> None:
    curve = np.exp(-np.arange(10_000) / 3000).astype(np.float32).reshape(-1, 1)
    assert len(pack(curve)) < curve.nbytes / 10


def test_the_unpacked_numbers_which_are_shared_cannot_be_changed() -> None:
    values = unpack(pack(np.ones((3, 2), np.float32)), 3, 2, 4)
    with pytest.raises(ValueError, match="read-only"):
        values[0, 0] = 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda packed: packed[:-5], "cannot be unpacked"),
        (lambda packed: packed[:20] + bytes([packed[20] ^ 255]) + packed[21:], "cannot be unpacked"),
        (lambda packed: zlib.compress(zlib.decompress(packed)[:-4]), "has 236 bytes, not 240"),
        (lambda packed: b"", "cannot be unpacked"),
    ],
)
def test_damaged_bytes_are_refused(change: Any, said: str) -> None:
    values = np.random.RandomState(0).randn(20, 3).astype(np.float32)
    with pytest.raises(ValueError, match=said):
        unpack(change(pack(values)), 20, 3, 4)
