"""Paddle's static program: the same bits as the eager loop, and the loop if there can be no program."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.history import History, State
from job.data.dataset import Dataset, load
from job.environment import TRAINING, environment
from job.models.base import LinearRegression
from job.models.loading import importing
from job.models.program import LONGEST
from job.models.trace import epoch_of

with importing():
    import paddle

    from job.models.paddle import EagerModel, PaddleModel


def table(rows: int, test_rows: int, features: int, seed: int) -> Dataset:
    random = np.random.RandomState(seed)
    shapes = {"train_x": (rows, features), "train_y": (rows, 1)}
    shapes |= {"test_x": (test_rows, features), "test_y": (test_rows, 1)}
    arrays: dict[str, Any] = {name: random.randn(*shape).astype("f4") for name, shape in shapes.items()}
    made: Any = SimpleNamespace(**arrays, features=[f"x{i}" for i in range(features)])
    return made  # type: ignore[no-any-return]


def both(dataset: Dataset, rate: float, *calls: int) -> tuple[History, History]:
    """The same epochs by the eager loop in one call, and by the program in `calls`."""
    start = LinearRegression.initial(dataset, 0)
    made = PaddleModel(dataset, rate, 0, start)
    parts = [made.advance(count) for count in calls]
    return EagerModel(dataset, rate, 0, start).advance(sum(calls)), History.concatenate(parts)


@pytest.mark.slow
def test_ten_thousand_epochs_of_the_default_run_have_the_bits_of_the_eager_loop() -> None:
    eager, by_program = both(load(), 0.01, 1, 4, 9_995)
    assert by_program.same_bits(eager)
    assert TRAINING["paddle"] == "static program"


@pytest.mark.slow
@settings(max_examples=25)
@given(
    rows=st.sampled_from([1, 2, 3, 8, 31, 33, 127, 404, 1000]),
    test_rows=st.sampled_from([1, 5, 102]),
    features=st.sampled_from([1, 2, 7, 16, 33, 100]),
    seed=st.integers(0, 1000),
    rate=st.floats(1e-4, 10),
    calls=st.lists(st.integers(1, 12), min_size=1, max_size=3),
)
def test_the_bits_are_those_of_the_eager_loop_for_any_table_rate_and_cut(
    rows: int, test_rows: int, features: int, seed: int, rate: float, calls: list[int]
) -> None:
    eager, by_program = both(table(rows, test_rows, features, seed), rate, *calls)
    assert by_program.same_bits(eager)  # not a number included


@pytest.mark.parametrize("epochs", [LONGEST - 1, LONGEST, LONGEST + 1, 2 * LONGEST + 1])
def test_a_block_may_be_longer_than_a_call_of_the_program(epochs: int) -> None:
    eager, by_program = both(table(20, 5, 3, 1), 0.01, epochs, 2)
    assert by_program.same_bits(eager)


def test_models_of_one_shape_do_not_disturb_each_other() -> None:
    dataset = table(20, 5, 3, 1)
    one, other = (PaddleModel(dataset, 0.1, 0, LinearRegression.initial(dataset, seed)) for seed in (1, 2))
    turns = [made.advance(3) for made in (one, other, one, other)]
    alone = EagerModel(dataset, 0.1, 0, LinearRegression.initial(dataset, 1)).advance(6)
    assert History.concatenate([turns[0], turns[2]]).same_bits(alone)
    assert one.program is other.program


def test_it_trains_in_any_thread_as_a_sweep_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRAINING, "paddle", "")
    with ThreadPoolExecutor(1) as thread:
        eager, by_program = thread.submit(both, table(21, 5, 3, 1), 0.1, 3, 2).result()
    assert by_program.same_bits(eager)
    assert TRAINING["paddle"] == "static program"


def test_paddle_is_left_in_its_dynamic_mode_or_its_static_one() -> None:
    dataset = table(20, 5, 3, 1)
    both(dataset, 0.1, 2)
    assert paddle.in_dynamic_mode()
    made = PaddleModel(dataset, 0.1, 0, LinearRegression.initial(dataset, 0))
    paddle.enable_static()
    try:
        made.program.run(made.data, made.parameters, 1)  # type: ignore[union-attr]
        assert not paddle.in_dynamic_mode()
    finally:
        paddle.disable_static()


def test_without_a_program_the_eager_loop_trains_and_that_is_said_once_and_recorded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unknown(*_: object) -> None:
        raise AttributeError("module 'paddle.static' has no\nattribute 'gradients'")

    monkeypatch.setattr("job.models.paddle.program", unknown)
    monkeypatch.setitem(TRAINING, "paddle", "static program")
    dataset = table(20, 5, 3, 1)
    eager, history = both(dataset, 0.1, 4, 1)
    PaddleModel(dataset, 0.1, 0, State(history.parameters[-1], 5))
    assert history.same_bits(eager)
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(
        "job: paddle trains epoch by epoch, since its program fails: AttributeError: module 'p"
    )
    assert environment()["training"] == {"paddle": "eager loop"}


def test_a_program_that_fails_while_it_runs_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("(Unimplemented) no kernel")

    dataset = table(20, 5, 3, 2)
    monkeypatch.setitem(TRAINING, "paddle", "")
    monkeypatch.setattr("job.models.program.Program.run", fails)
    eager, history = both(dataset, 0.123, 4)  # a program that no test has built
    assert history.same_bits(eager)
    assert TRAINING["paddle"] == "eager loop"


def test_the_trace_after_a_block_is_that_of_the_next_epoch() -> None:
    dataset = table(20, 5, 3, 1)
    made = PaddleModel(dataset, 0.1, 0, LinearRegression.initial(dataset, 0))
    made.advance(3)
    traced = epoch_of(made.trace(), 3)
    assert made.advance(1).same_bits(traced)
