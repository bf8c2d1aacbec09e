"""float32 goes through both databases and back without losing a bit."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from db.history import History
from db.store import Store
from db.types import pack_weights, unpack_weights
from tests.samples import dataset_row, history

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
EXTREMES = [0.0, -0.0, 1e-45, -1e-45, 1.1754942e-38, 3.4028235e38, -3.4028235e38, 7.038531e-26, 1.0, 1 / 3]


def bits(values: np.ndarray) -> list[int]:
    return values.view(np.uint32).ravel().tolist()


@given(st.lists(st.lists(finite, min_size=3, max_size=3), min_size=1, max_size=5))
@example([[7.038531e-26, 0.5, -0.0]])
def test_packed_weights_come_back_bit_for_bit(rows: list[list[float]]) -> None:
    weights = np.array(rows, np.float32)
    assert bits(unpack_weights(pack_weights(weights))) == bits(weights)


@given(st.lists(finite, min_size=1, max_size=8))
@example([7.038531e-26])
def test_any_json_reader_gets_the_same_float32(row: list[float]) -> None:
    weights = np.array([row], np.float32)
    (packed,) = pack_weights(weights)
    assert bits(np.array([json.loads(packed)], np.float64).astype(np.float32)) == bits(weights)


def test_packed_weights_are_the_shortest_numbers() -> None:
    assert pack_weights(np.array([[0.1, -2.5e-9]], np.float32)) == ["[0.1,-2.5e-9]"]
    assert pack_weights(np.empty((0, 3), np.float32)) == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(finite, min_size=4, max_size=4), data=st.data())
@example(values=EXTREMES[:4], data=None)
@example(values=EXTREMES[4:8], data=None)
@example(values=EXTREMES[6:], data=None)
def test_every_finite_float32_survives_the_store(store: Store, values: list[float], data: object) -> None:
    writer = store.start_run(dataset_row(), epochs=1, learning_rate=0.1, seed=0, environment={})
    stored = history(1)
    stored.weights[0] = values[:3]
    stored.bias[0] = values[3]
    stored.train_loss[0], stored.test_loss[0] = abs(values[0]), abs(values[1])
    writer.append("python", stored)
    assert store.history(writer.run_id, "python").same_bits(stored)


def test_the_sign_of_zero_survives_in_the_bias(store: Store) -> None:
    writer = store.start_run(dataset_row(), epochs=1, learning_rate=0.1, seed=0, environment={})
    stored = history(1)
    stored.bias[0] = -0.0
    writer.append("python", stored)
    assert math.copysign(1, store.history(writer.run_id, "python").bias[0]) == -1


@pytest.mark.parametrize("field", ["train_loss", "test_loss", "weights", "bias"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_history_ends_before_its_first_number_that_is_not_finite(field: str, value: float) -> None:
    made = history(6)
    getattr(made, field)[3] = value
    assert len(made.finite()) == 3
    assert made.finite().same_bits(made[:3])
    assert isinstance(made.finite(), History)
