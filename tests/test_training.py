"""The loop stores block by block, keeps the models together, stops when told and survives divergence."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.history import History
from job.stop import StopRequest
from job.training.loop import BLOCK_EPOCHS, BLOCK_SECONDS, Outcome, next_size, train
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


class MadeUp:
    """A model whose loss stops being finite at an epoch of choice."""

    def __init__(self, diverges_at: int | None = None, epoch: int = 0) -> None:
        self.diverges_at = diverges_at
        self.epoch = epoch

    def advance(self, epochs: int) -> History:
        made = history(epochs, first_epoch=self.epoch)
        if self.diverges_at is not None:
            made.train_loss[made.epoch >= self.diverges_at] = np.inf
        self.epoch += epochs
        return made


def run(writer: Recorded, epochs: int, stop: StopRequest | None = None, **models: MadeUp) -> Outcome:
    return train(writer, models, epochs, report=lambda *_: None, stop=stop or StopRequest())


def test_every_epoch_is_stored_once_and_in_order() -> None:
    writer = Recorded()
    assert run(writer, 1234, a=MadeUp(), b=MadeUp()) == Outcome("completed")
    assert writer.epochs() == {"a": list(range(1234)), "b": list(range(1234))}
    assert max(len(block) for _, block in writer.blocks) <= BLOCK_EPOCHS


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


@given(st.integers(1, BLOCK_EPOCHS), st.floats(1e-6, 100))
def test_blocks_grow_and_shrink_with_the_speed(count: int, seconds: float) -> None:
    size = next_size(count, seconds)
    assert 1 <= size <= min(BLOCK_EPOCHS, 4 * count)
    assert size == 1 or size * seconds / count <= BLOCK_SECONDS * (1 + 1e-9)


def test_a_clock_that_stands_still_does_no_harm() -> None:
    assert next_size(10, 0.0) == 40
    assert not math.isinf(next_size(BLOCK_EPOCHS, 0.0))
