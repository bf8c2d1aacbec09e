"""The difference between two histories is found, measured and described."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from db.history import Float32s, History
from job.verdicts.gap import TOLERANCE, describe_beyond, difference, ulps_apart
from tests.samples import history

PARAMETERS = ["x0", "x1", "x2", "bias"]
NAMES = ("a", "b")
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


def changed(base: History, field: str, where: object, value: float) -> History:
    copy = History.concatenate([base])
    getattr(copy, field)[where] = value
    return copy


def test_equal_histories_are_the_same_bits() -> None:
    found = difference(history(), history(), PARAMETERS, NAMES)
    assert found.same_bits
    assert found.within_tolerance
    assert (found.worst, found.ulps, found.first_epoch) == (0.0, 0, None)
    assert found.describe() == "the same bits on all 5 epochs"


@pytest.mark.parametrize(
    ("field", "where", "name"),
    [
        ("train_loss", 3, "train loss"),
        ("test_loss", 3, "test loss"),
        ("parameters", (3, 1), "x1"),
        ("parameters", (3, -1), "bias"),
    ],
)
def test_the_worst_gap_is_named(field: str, where: object, name: str) -> None:
    base = history()
    value = float(getattr(base, field)[where])
    found = difference(base, changed(base, field, where, value + 0.5), PARAMETERS, NAMES)
    assert (found.worst_value, found.worst_epoch) == (name, 3)
    assert found.first_epoch == found.beyond_epoch == 3
    assert found.worst == pytest.approx(0.5, abs=1e-6)


def test_a_difference_in_the_last_bit_is_no_breach_but_is_seen() -> None:
    base = history()
    other = changed(base, "parameters", (2, -1), float(np.nextafter(base.parameters[2, -1], np.float32(9))))
    found = difference(base, other, PARAMETERS, NAMES)
    assert (found.first_epoch, found.ulps, found.beyond_epoch) == (2, 1, None)
    assert found.within_tolerance
    assert not found.same_bits


def test_the_tolerance_is_relative_beyond_one() -> None:
    base = changed(history(), "parameters", (1, 0), 1000.0)
    assert difference(base, changed(base, "parameters", (1, 0), 1000.001), PARAMETERS, NAMES).within_tolerance
    assert not difference(
        base, changed(base, "parameters", (1, 0), 1000.01), PARAMETERS, NAMES
    ).within_tolerance


def test_the_tolerance_is_absolute_below_one() -> None:
    base = changed(history(), "parameters", (1, -1), 0.125)
    assert difference(
        base, changed(base, "parameters", (1, -1), 0.125 + 1e-6), PARAMETERS, NAMES
    ).within_tolerance
    assert not difference(
        base, changed(base, "parameters", (1, -1), 0.125 + 4e-6), PARAMETERS, NAMES
    ).within_tolerance


def test_the_tolerance_is_relative_to_the_larger_of_the_two() -> None:
    four, five = changed(history(), "parameters", (1, 0), 4.0), changed(history(), "parameters", (1, 0), 5.0)
    assert difference(four, five, PARAMETERS, NAMES, 0.21).within_tolerance
    assert not difference(four, five, PARAMETERS, NAMES, 0.19).within_tolerance


def test_epochs_are_told_by_their_numbers() -> None:
    base = history(5, first_epoch=100)
    other = changed(changed(base, "parameters", (2, -1), 5.0), "parameters", (3, -1), 50.0)
    found = difference(base[:4], other[1:], PARAMETERS, NAMES)
    assert (found.epochs, found.first_epoch, found.beyond_epoch, found.worst_epoch) == (3, 102, 102, 103)
    assert found.missing == "b lacks 1 epochs, the first of them 100"
    assert difference(base[2:], base, PARAMETERS, NAMES).missing == "a lacks 2 epochs, the first of them 100"


def test_units_in_the_last_place_are_counted_in_words() -> None:
    for steps, words in ((1, ": 1 unit in"), (2, ": 2 units in")):
        other = History.concatenate([history()])
        for _ in range(steps):
            other.parameters[4, -1] = np.nextafter(other.parameters[4, -1], np.float32(99))
        assert words in difference(history(), other, PARAMETERS, NAMES).describe()


def test_the_sign_of_a_zero_is_a_difference_within_every_tolerance() -> None:
    plus, minus = (
        changed(history(), "parameters", (2, -1), 0.0),
        changed(history(), "parameters", (2, -1), -0.0),
    )
    found = difference(plus, minus, PARAMETERS, NAMES, 0)
    assert (found.first_epoch, found.beyond_epoch, found.worst) == (2, None, 0)


def test_nan_is_beyond_every_tolerance() -> None:
    base = history()
    found = difference(base, changed(base, "parameters", (4, 2), np.nan), PARAMETERS, NAMES)
    assert found.beyond_epoch == 4
    assert np.isnan(found.worst)


def test_missing_epochs_are_told() -> None:
    whole = history()
    holed = History.concatenate([whole[:2], whole[3:]])
    found = difference(whole, holed, PARAMETERS, NAMES)
    assert found.missing == "b lacks 1 epochs, the first of them 2"
    assert not found.same_bits
    assert not found.within_tolerance


def test_histories_without_a_common_epoch_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="no epoch in common"):
        difference(history(2), history(2, first_epoch=2), PARAMETERS, NAMES)


def one(value: float) -> Float32s:
    return np.array([value], np.float32)


@given(floats)
@example(3.4028234663852886e38)
def test_the_next_float32_is_one_unit_away(value: float) -> None:
    for toward in (-np.inf, np.inf):
        with np.errstate(over="ignore"):
            neighbour = np.nextafter(one(value), np.float32(toward))
        if np.isfinite(neighbour).all():
            # Between the zeros and their neighbours lies the other zero.
            expected = {1, 2} if 0 in (value, float(neighbour[0])) else {1}
            assert ulps_apart(one(value), neighbour)[0] in expected


@given(floats, floats)
@example(0.0, -0.0)
def test_distance_is_symmetric_and_zero_only_for_the_same_bits(a: float, b: float) -> None:
    there, back = ulps_apart(one(a), one(b))[0], ulps_apart(one(b), one(a))[0]
    assert there == back
    assert (there == 0) == (one(a).tobytes() == one(b).tobytes())


def test_the_tolerance_catches_a_wrong_implementation() -> None:
    """A loss taken after the update, the classic mistake, shifts the losses by one epoch."""
    decreasing = history(50)
    decreasing.train_loss[:] = np.geomspace(2, 0.1, 50)
    shifted = changed(decreasing, "train_loss", slice(0, 49), np.nan)
    shifted.train_loss[:49] = decreasing.train_loss[1:]
    found = difference(decreasing, shifted, PARAMETERS, NAMES)
    assert found.beyond_epoch == 0
    assert found.worst > 100 * TOLERANCE


def test_the_values_beyond_the_tolerance_are_named_in_the_order_of_their_first_epochs() -> None:
    right = history(10, features=8)
    wrong = History.concatenate([right])
    wrong.test_loss[7:] += np.float32(1)
    wrong.parameters[4:, 2] += np.float32(1)
    found = difference(right, wrong, [f"p{i}" for i in range(9)], ("a", "b"))
    assert found.beyond == ((4, "p2"), (7, "test loss"))
    assert describe_beyond(found.beyond) == "beyond it from epoch 4 on: p2 from 4, test loss from 7"
    wrong.parameters[9] += np.float32(1)
    found = difference(right, wrong, [f"p{i}" for i in range(9)], ("a", "b"))
    assert describe_beyond(found.beyond).endswith(
        ": p2 from 4, test loss from 7, p0 from 9, p1 from 9, p3 from 9, 5 more"
    )
    same = difference(right, right, [f"p{i}" for i in range(9)], ("a", "b"))
    assert describe_beyond(same.beyond) == ""
