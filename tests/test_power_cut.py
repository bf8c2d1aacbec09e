"""A power cut or a failed write may cost a SQLite store its last transactions, never the file."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import apsw
import pytest

from db.errors import StoreError
from db.lease import RunWriter
from db.store import Store
from tests.disk import Change, after_power_cut, by_chance, recorded_disk
from tests.samples import dataset_row, history

EPOCHS, BLOCK = 60, 5
pytestmark = pytest.mark.slow
HISTORIES = {"paddle": history(EPOCHS, seed=1), "python": history(EPOCHS, seed=2)}
Progress = tuple[int, int]
"""how many epochs of each model are stored"""
Training = tuple[list[Change], list[Progress]]
"""all that a training writes to the disk of its new store, and the progress after each transaction"""


def begin(store: Store) -> RunWriter:
    return store.start_run(dataset_row(), epochs=EPOCHS, learning_rate=0.1, seed=0, environment={})


def train(store: Store, epochs: int = EPOCHS) -> list[Progress]:
    """Train the first epochs; return the progress after each transaction."""
    writer = begin(store)
    states: list[Progress] = [(0, 0)]
    for epoch in range(0, epochs, BLOCK):
        for model, whole in HISTORIES.items():
            writer.append(model, whole[epoch : epoch + BLOCK])
            trained = store.progress(writer.run_id)
            states.append((trained.get("paddle", 0), trained.get("python", 0)))
    writer.finish("completed" if epochs == EPOCHS else "interrupted")
    return states


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    file = tmp_path_factory.mktemp("recorded") / "ledger.db"
    with recorded_disk() as disk, Store(f"sqlite:///{file}", create=True) as store:
        states = train(store)
    return disk.changes, states


def put(files: dict[str, bytes], directory: Path) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory / "ledger.db"


def stored(file: Path) -> Progress | None:
    """The epochs of each model, in a file that must be whole; None for one without tables."""
    connection = sqlite3.connect(file)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        tables = {
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
        if not tables - {"sqlite_sequence"}:
            return None
        assert tables >= {"runs", "epochs", "verdicts", "scheduled_runs", "ledger_version"}
        found = [
            connection.execute(
                "SELECT epoch, train_loss, test_loss FROM epochs WHERE model = ? ORDER BY epoch", [model]
            ).fetchall()
            for model in HISTORIES
        ]
    finally:
        connection.close()
    for rows, whole in zip(found, HISTORIES.values(), strict=True):
        columns = whole.epoch, whole.train_loss, whole.test_loss
        assert rows == list(zip(*(column[: len(rows)].tolist() for column in columns), strict=True))
    paddle, python = map(len, found)
    return paddle, python


def cuts(
    changes: list[Change], kept: Callable[[int], Callable[[], bool]], directory: Path
) -> list[Progress | None]:
    """What is stored after a power cut before each change, and after the last."""
    found: list[Progress | None] = []
    before = None
    for at in range(len(changes) + 1):
        files = after_power_cut(changes[:at], kept(at))
        found.append(found[-1] if files == before else stored(put(files, directory)))
        before = files
    return found


@pytest.fixture(autouse=True)
def _trainers_die_with_the_power(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process trained the recorded runs, and lives on."""
    monkeypatch.setattr("db.lease.is_alive", lambda owner: False)


def go_on(file: Path) -> None:
    """Finish the training of a store, whatever it holds, and compare every bit."""
    with Store(f"sqlite:///{file}", create=True, heartbeat_timeout=0.0) as store:
        if store.runs():
            run_id, states = store.run().id, store.checkpoints(store.run().id)
        else:
            run_id, states = begin(store).run_id, {}
        if store.run(run_id).status != "completed":
            writer = store.resume_run(run_id, environment={})
            for model, whole in HISTORIES.items():
                writer.append(model, whole[states[model].epoch if model in states else 0 :])
            writer.finish("completed")
        for model, whole in HISTORIES.items():
            assert store.history(run_id, model).same_bits(whole)


def test_a_power_cut_costs_the_last_transactions_and_never_the_file(
    training: Training, tmp_path: Path
) -> None:
    changes, states = training
    nothing = cuts(changes, lambda _: lambda: False, tmp_path / "cut")
    everything = cuts(changes, lambda _: lambda: True, tmp_path / "cut")  # a kill of the process instead
    something = cuts(changes, by_chance, tmp_path / "cut")
    assert {change.kind for change in changes} == {"write", "sync", "truncate", "delete"}
    assert len(set(nothing)) >= 5, "too few checkpoints for this test"
    assert set(everything) == {None, *states}
    assert nothing[-1] == something[-1] == everything[-1] == states[-1]
    for found in (nothing, something, everything):
        assert set(found) <= {None, *states}
    order = [None, *states]
    for least, some, most in zip(nothing, something, everything, strict=True):
        assert order.index(least) <= order.index(some) <= order.index(most)
    for found in (nothing, everything):
        assert [order.index(state) for state in found] == sorted(order.index(state) for state in found)


def test_a_training_goes_on_after_a_power_cut_to_the_same_bits(training: Training, tmp_path: Path) -> None:
    changes, _ = training
    syncs = [at for at, change in enumerate(changes) if change.kind == "sync"]
    for at in syncs:
        for kept in (lambda: False, by_chance(at)):
            go_on(put(after_power_cut(changes[: at + 1], kept), tmp_path / "cut"))
    assert len(syncs) > 10


@pytest.mark.parametrize("error", [apsw.FullError, apsw.IOError])
def test_a_write_or_sync_that_fails_costs_its_transaction_and_nothing_else(
    error: type[apsw.Error], training: Training, tmp_path: Path
) -> None:
    _, states = training
    Store(f"sqlite:///{tmp_path / 'empty.db'}", create=True).close()
    empty = {"ledger.db": (tmp_path / "empty.db").read_bytes()}
    for at in itertools.count(1):
        changes = itertools.count(1)

        def fail(_: Change, at: int = at, changes: Iterator[int] = changes) -> None:
            if next(changes) == at:
                raise error("on purpose")

        file = put(empty, tmp_path / "failing")
        with recorded_disk() as disk:
            disk.before = fail
            with suppress(StoreError), Store(f"sqlite:///{file}") as store:
                train(store, 2 * BLOCK)
        assert stored(file) in states[:5]
        if next(changes) <= at:
            break
        go_on(file)
    assert at > 20
    assert stored(file) == states[4]
