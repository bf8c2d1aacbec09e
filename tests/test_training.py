"""The loop stores block by block, keeps the models together, stops on request and survives divergence."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.history import History, State
from job.models.base import LinearRegression
from job.stop import StopRequest
from job.training.loop import Outcome, Writer, next_size, train
from tests.samples import history


class Recorded:
    """A writer that keeps what it is given, in order."""

    def __init__(self) -> None:
        self.blocks: list[tuple[str, History]] = []

    def append(self, model: str, history: History) -> None:
        self.blocks.append((model, history))

    def epochs(self) -> dict[str, list[int]]:
        stored: dict[str, list[int]] = defaultdict(list)
        for model, block in self.blocks:
            stored[model] += block.epoch.tolist()
        return dict(stored)


class MadeUp(LinearRegression):
    """A model whose loss stops being finite at a given epoch."""

    def __init__(self, diverges_at: int | None = None, epoch: int = 0) -> None:
        self.diverges_at = diverges_at
        self.epoch = epoch

    def advance(self, epochs: int) -> History:
        made = history(epochs, first_epoch=self.epoch)
        if self.diverges_at is not None:
            made.train_loss[made.epoch >= self.diverges_at] = np.inf
        self.epoch += epochs
        return made


def run(
    writer: Writer,
    epochs: int,
    stop: StopRequest | None = None,
    on_block: Callable[[str, History], None] = lambda *_: None,
    **models: MadeUp,
) -> Outcome:
    states = {name: State(history(1).parameters[0], model.epoch) for name, model in models.items()}

    def make(name: str, state: State) -> MadeUp:
        models[name].epoch = state.epoch
        return models[name]

    return train(writer, states, make, epochs, on_block=on_block, stop=stop or StopRequest())


def test_every_epoch_is_stored_once_and_in_order() -> None:
    writer = Recorded()
    assert run(writer, 1234, a=MadeUp(), b=MadeUp()) == Outcome("completed")
    assert writer.epochs() == {"a": list(range(1234)), "b": list(range(1234))}


def test_the_first_block_of_each_model_is_one_epoch_and_no_block_is_above_2000() -> None:
    writer = Recorded()
    run(writer, 20_000, a=MadeUp(), b=MadeUp())
    sizes = [len(block) for _, block in writer.blocks]
    assert sizes[:4] == [1, 1, 4, 4]
    assert max(sizes) == 2000


def test_a_block_of_a_large_model_has_few_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("job.training.loop.BLOCK_VALUES", 41)
    writer = Recorded()
    run(writer, 60, a=MadeUp())  # of four parameters
    assert max(len(block) for _, block in writer.blocks) == 11


@pytest.mark.parametrize("begun", [0, 1, 700, 1999, 2000])
def test_wherever_a_run_begins_a_block_ends_at_each_multiple_of_2000(begun: int) -> None:
    writer = Recorded()
    run(writer, 8000, a=MadeUp(epoch=begun))
    ends = {int(block.epoch[-1]) + 1 for _, block in writer.blocks}
    assert {2000, 4000, 6000, 8000} <= ends | {begun}


@pytest.mark.slow
def test_a_slow_model_is_stored_epoch_by_epoch() -> None:
    class Slow(MadeUp):
        def advance(self, epochs: int) -> History:
            time.sleep(0.6 * epochs)
            return super().advance(epochs)

    writer = Recorded()
    run(writer, 3, a=Slow())
    assert [len(block) for _, block in writer.blocks] == [1, 1, 1]


def test_a_block_is_reported_once_it_is_stored() -> None:
    events: list[tuple[str, str, list[int]]] = []

    class Noted:
        def append(self, model: str, history: History) -> None:
            events.append(("stored", model, history.epoch.tolist()))

    def report(model: str, history: History) -> None:
        events.append(("reported", model, history.epoch.tolist()))

    run(Noted(), 9, on_block=report, a=MadeUp(diverges_at=3))
    assert events == [(what, "a", epochs) for epochs in ([0], [1, 2]) for what in ("stored", "reported")]


def test_a_block_that_could_not_be_stored_is_not_reported() -> None:
    class Failing:
        def append(self, model: str, history: History) -> None:
            raise OSError

    told: list[object] = []
    with pytest.raises(OSError):
        run(Failing(), 9, on_block=lambda *block: told.append(block), a=MadeUp())
    assert told == []


def test_a_divergence_is_no_warning_of_numpy() -> None:
    class Overflowing(MadeUp):
        def advance(self, epochs: int) -> History:
            made = super().advance(epochs)
            made.parameters[:] = made.parameters * np.float32(1e30) * np.float32(1e30)
            made.parameters[:, -1] = np.float32(np.inf) * np.zeros(1, np.float32)
            return made

    assert run(Recorded(), 9, a=Overflowing()).status == "diverged"


@pytest.mark.parametrize("field", ["train_loss", "test_loss", "parameters"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_epochs_are_finite_up_to_the_first_value_that_is_not(field: str, value: float) -> None:
    made = history(9)
    getattr(made, field)[4] = value
    getattr(made, field)[6] = value
    assert made.finite().same_bits(history(9)[:4])
    assert history(9).finite().same_bits(history(9))


def test_every_model_that_diverged_is_named() -> None:
    outcome = run(Recorded(), 9, a=MadeUp(2), b=MadeUp(4), c=MadeUp())
    assert outcome == Outcome("diverged", "not finite any more: a at epoch 2, b at epoch 4")


def test_nothing_is_trained_once_it_is_to_stop() -> None:
    writer, stop = Recorded(), StopRequest()
    stop.set()
    assert run(writer, 9, stop, a=MadeUp()) == Outcome("interrupted", "stopped by request")
    assert writer.blocks == []


def test_a_run_that_has_all_its_epochs_is_complete_even_when_it_is_to_stop() -> None:
    stop = StopRequest()
    stop.set()
    assert run(Recorded(), 9, stop, a=MadeUp(epoch=9)) == Outcome("completed")


def test_the_model_that_is_behind_goes_first() -> None:
    writer = Recorded()
    run(writer, 100, a=MadeUp(epoch=60), b=MadeUp())
    assert writer.blocks[0][0] == "b"
    assert writer.epochs() == {"a": list(range(60, 100)), "b": list(range(100))}


def test_a_stop_ends_between_blocks() -> None:
    class Stopping(Recorded):
        def append(self, model: str, history: History) -> None:
            super().append(model, history)
            if len(self.blocks) == 3:
                stop.by = "SIGTERM"
                stop.set()

    writer, stop = Stopping(), StopRequest()
    assert run(writer, 10_000, stop, a=MadeUp()) == Outcome("interrupted", "stopped by SIGTERM")
    assert len(writer.blocks) == 3


@pytest.mark.parametrize("diverges_at", [0, 7, 10, 333])
def test_a_diverged_model_keeps_its_finite_epochs_and_the_other_goes_on(diverges_at: int) -> None:
    writer = Recorded()
    outcome = run(writer, 400, a=MadeUp(diverges_at), b=MadeUp())
    assert outcome == Outcome("diverged", f"not finite any more: a at epoch {diverges_at}")
    stored = writer.epochs()
    assert stored.get("a", []) == list(range(diverges_at))
    assert stored["b"] == list(range(400))


class Raising(MadeUp):
    """A model that raises an exception in an epoch, once or always."""

    def __init__(self, raises_at: int, times: int = 10**6) -> None:
        super().__init__()
        self.raises_at, self.times = raises_at, times

    def advance(self, epochs: int) -> History:
        if self.epoch <= self.raises_at < self.epoch + epochs and self.times:
            self.times -= 1
            self.epoch += 1  # half done
            raise ZeroDivisionError("a\nb")
        return super().advance(epochs)


@pytest.mark.parametrize("epoch", [0, 7, 333, 399])
@pytest.mark.parametrize("first", [True, False])
def test_a_model_that_raises_ends_the_run_at_its_epoch_and_the_other_gets_as_far(
    epoch: int, first: bool
) -> None:
    writer, bad, good = Recorded(), Raising(epoch), MadeUp()
    outcome = run(writer, 400, bad=bad, good=good) if first else run(writer, 400, good=good, bad=bad)
    assert outcome.status == "failed"
    expected = rf"bad at epoch {epoch}: ZeroDivisionError: a b \(test_training.py, line \d+\)"
    assert re.fullmatch(expected, str(outcome.reason))
    stored = writer.epochs()
    assert stored.get("bad", []) == list(range(epoch))
    ahead = len(stored.get("good", []))
    assert stored.get("good", []) == list(range(ahead))
    assert epoch <= ahead <= 4 * epoch + 1, "not further than its block at that time"


def test_what_a_model_prints_is_no_answer(capsys: pytest.CaptureFixture[str]) -> None:
    class Talking(MadeUp):
        def advance(self, epochs: int) -> History:
            print("hello")
            return super().advance(epochs)

    assert run(Recorded(), 1, a=Talking()) == Outcome("completed")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "hello\n")


def test_a_model_that_raises_only_once_goes_on() -> None:
    writer = Recorded()
    assert run(writer, 400, a=Raising(7, times=1)) == Outcome("completed")
    assert writer.epochs() == {"a": list(range(400))}


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        (lambda made: None, "advance(1) returned NoneType, not a History"),
        (
            lambda made: replace(made, parameters=made.parameters.astype(np.float64)),
            "advance(1) returned parameters as float64 [1, 4], not float32 [1, 4]",
        ),
        (
            lambda made: replace(made, test_loss=made.test_loss[:0]),
            "advance(1) returned test_loss as float32 [0], not",
        ),
        (
            lambda made: replace(made, epoch=made.epoch + 1),
            "advance(1) returned epochs that do not count on from 0",
        ),
    ],
)
def test_a_history_of_another_form_ends_the_run(returned: Callable[[History], History], problem: str) -> None:
    class Wrong(MadeUp):
        def advance(self, epochs: int) -> History:
            return returned(super().advance(epochs))

    outcome = run(Recorded(), 9, a=Wrong())
    assert outcome.status == "failed"
    assert problem in str(outcome.reason)


@pytest.mark.parametrize(
    ("count", "seconds", "following"),
    [
        (10, 0.0, 40),  # a clock that does not advance
        (10, 1e-6, 40),
        (1000, 0.1, 2000),
        (2000, 0.0, 2000),
        (100, 1.0, 50),  # half a second of training
        (100, 0.5, 100),
        (3, 0.4, 3),
        (1, 0.1, 4),
        (1, 6.0, 1),
        (2000, 3600.0, 1),
    ],
)
def test_blocks_grow_and_shrink_with_the_speed(count: int, seconds: float, following: int) -> None:
    assert next_size(count, seconds) == following


@given(st.integers(1, 2000), st.floats(1e-6, 100))
def test_a_block_is_about_half_a_second_and_at_most_four_times_the_last(count: int, seconds: float) -> None:
    size = next_size(count, seconds)
    assert 1 <= size <= min(2000, 4 * count)
    assert size == 1 or size * seconds / count <= 0.5 * (1 + 1e-9)
