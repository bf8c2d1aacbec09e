"""A history that is not as it was written is found, with its model and block; a whole one never is."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from db.errors import StoreError, UnsuitableRunError
from db.history import History
from db.integrity import DIFFERENT, Fault, first_fault
from db.store import Store
from tests.samples import execute, histories, history, start

ENDS = (0, 3, 11, 29)
"""the last epochs of the blocks"""
Row = dict[str, Any]


def store_run(store: Store, own: dict[str, History], status: str = "completed", epochs: int = 30) -> None:
    writer = start(store, epochs=epochs)
    for first, last in zip((0, *(end + 1 for end in ENDS)), ENDS, strict=False):
        for model, whole in own.items():
            writer.append(model, whole[first : last + 1])
    writer.finish(status)


@pytest.fixture(scope="module")
def shared_store(shared_url: str) -> Iterator[Store]:
    """A store with one completed run of 30 epochs, which every test leaves as it was."""
    with Store(shared_url) as store:
        store_run(store, histories(30))
        yield store


def fault_of(store: Store) -> Fault | None:
    return first_fault(store, store.run(1))


def fault_after(store: Store, *statements: str) -> Fault:
    """The fault that is found once the statements have been executed, each with one row changed."""
    execute(store, *statements)
    found = fault_of(store)
    assert found is not None
    return found


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A store with such a run of its own."""
    with Store(database_url) as opened:
        store_run(opened, histories(30))
        yield opened


# -- changed values ------------------------------------------------------------------------------


def read_row(store: Store, model: str, epoch: int) -> Row:
    query = text("SELECT * FROM epochs WHERE run_id = 1 AND model = :model AND epoch = :epoch")
    values = {"model": model, "epoch": epoch}
    return dict(store.read(lambda session: session.execute(query, values).mappings().one()))


def write_row(store: Store, row: Row) -> None:
    """Replace a row; on SQLite without its CHECKs, like a fault of the disk."""
    columns = ("train_loss", "test_loss", "parameters")
    changes = ", ".join(f"{name} = :{name}" for name in columns)
    if isinstance(row["parameters"], bytes):
        changes = changes.replace(":parameters", "CAST(:parameters AS TEXT)")
    where = "run_id = :run_id AND model = :model AND epoch = :epoch"
    with store.engine.connect() as connection:
        if store.path:
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.execute(text(f"UPDATE epochs SET {changes} WHERE {where}"), row)
        connection.commit()


def flipped(value: bytes, bit: int) -> bytes:
    changed = bytearray(value)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def with_a_flipped_bit(row: Row, random: np.random.RandomState) -> Row:
    """The row with one bit of a loss (float64) or of the parameters (text, or float32) changed."""
    name = ("train_loss", "test_loss", "parameters", "parameters")[random.randint(4)]
    value = row[name]
    if isinstance(value, float):
        (changed,) = struct.unpack("<d", flipped(struct.pack("<d", value), random.randint(64)))
    elif isinstance(value, list):
        changed, i = list(value), random.randint(len(value))
        (changed[i],) = struct.unpack("<f", flipped(struct.pack("<f", value[i]), random.randint(32)))
    else:
        changed = flipped(value.encode(), random.randint(8 * len(value)))
        if changed.lower() == value.encode().lower():  # 1E-5 is the number 1e-5
            return with_a_flipped_bit(row, random)
    return row | {name: changed}


def storable(row: Row) -> bool:
    """Whether PostgreSQL takes the row; SQLite takes any."""
    numbers = [row["train_loss"], row["test_loss"]]
    if isinstance(row["parameters"], list):
        return bool(np.isfinite([*numbers, *row["parameters"]]).all() and max(map(abs, numbers)) < 3e38)
    return not np.isnan(numbers).any()  # SQLite stores NaN as null


@pytest.mark.parametrize("seed", range(150))
def test_a_changed_bit_of_a_stored_value_is_found_in_its_block(shared_store: Store, seed: int) -> None:
    random = np.random.RandomState(seed)
    model, epoch = ("paddle", "python")[random.randint(2)], int(random.randint(30))
    row = read_row(shared_store, model, epoch)
    changed = with_a_flipped_bit(row, random)
    while not storable(changed):
        changed = with_a_flipped_bit(row, random)
    write_row(shared_store, changed)
    try:
        found = fault_of(shared_store)
    finally:
        write_row(shared_store, row)
    first, last = block_of(epoch)
    assert found is not None
    assert found.first_epoch == first
    assert found.detail.startswith(f"{model}, epochs {first} to {last}: ")
    assert fault_of(shared_store) is None


def block_of(epoch: int) -> tuple[int, int]:
    """The first and last epoch of an epoch's block."""
    last = next(end for end in ENDS if epoch <= end)
    return ([0] + [end + 1 for end in ENDS])[ENDS.index(last)], last


@pytest.mark.slow
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(
        st.floats(allow_nan=False, allow_infinity=False, width=32, max_value=2.0**127, min_value=-(2.0**127)),
        min_size=180,
        max_size=180,
    )
)
def test_whatever_is_written_is_whole(database_url: str, values: list[float]) -> None:
    whole = history(30)
    table = np.array(values, np.float32).reshape(30, 6)
    whole = replace(whole, train_loss=table[:, 0], test_loss=table[:, 1], parameters=table[:, 2:])
    with Store(database_url) as store:
        store_run(store, {"paddle": whole, "python": whole})
        assert first_fault(store, store.run()) is None


@pytest.mark.parametrize("status", ["interrupted", "failed", "diverged"])
def test_a_run_that_stopped_is_whole(database_url: str, status: str) -> None:
    with Store(database_url) as store:
        store_run(store, histories(30), status, epochs=50)
        start(store)  # and one without epochs, which is running
        assert [first_fault(store, store.run(run)) for run in (1, 2)] == [None, None]


# -- rows, digests and settings ------------------------------------------------------------------

PYTHON = "run_id = 1 AND model = 'python'"
LAST = f"{PYTHON} AND last_epoch = 29"
COLUMNS = "train_loss, test_loss, parameters, trained_at"
SWAP = (
    f"UPDATE epochs SET epoch = 1000 WHERE {PYTHON} AND epoch = 5",
    f"UPDATE epochs SET epoch = 5 WHERE {PYTHON} AND epoch = 9",
    f"UPDATE epochs SET epoch = 9 WHERE {PYTHON} AND epoch = 1000",
)
OTHER = "'" + "0" * 64 + "'"
CHANGES = {
    f"python, epochs 4 to 11: {DIFFERENT}": SWAP,
    "python, epochs 4 to 11: epoch 7 is missing": (f"DELETE FROM epochs WHERE {PYTHON} AND epoch = 7",),
    "python, epochs 12 to 29: epoch 29 is missing": (f"DELETE FROM epochs WHERE {PYTHON} AND epoch = 29",),
    "python, epochs 4 to 11: epoch 5 is missing and 2 more": (
        f"DELETE FROM epochs WHERE {PYTHON} AND epoch BETWEEN 5 AND 7",
    ),
    "python: epoch 30 is there, and the trainer did not store it": (
        f"INSERT INTO epochs SELECT 1, 'python', 30, {COLUMNS} FROM epochs WHERE {PYTHON} AND epoch = 29",
    ),
    "other: epoch 3 is there, and the trainer did not store it": (
        f"INSERT INTO epochs SELECT 1, 'other', epoch, {COLUMNS} FROM epochs WHERE {PYTHON} AND epoch = 3",
    ),
    f"paddle, epochs 0 to 0: {DIFFERENT}": (
        "UPDATE parameters SET name = 'x' WHERE run_id = 1 AND name = 'x1'",
    ),
    "python, epochs 4 to 11: the digest was changed; the epochs were not": (
        f"UPDATE blocks SET digest = {OTHER} WHERE {PYTHON} AND last_epoch = 11",
    ),
    "python, epochs 12 to 29: the digest was changed; the epochs were not": (
        f"UPDATE blocks SET digest = {OTHER} WHERE {LAST}",
    ),
    "python: the digest of the whole history was changed; the epochs were not changed": (
        f"UPDATE models SET digest = {OTHER} WHERE run_id = 1 AND name = 'python'",
    ),
    "python: the digest of the whole history is missing; the epochs were not changed": (
        "UPDATE models SET digest = NULL WHERE run_id = 1 AND name = 'python'",
    ),
    "python has digests of 12 epochs, and the run 30": (
        f"DELETE FROM epochs WHERE {PYTHON} AND epoch > 11",
        f"DELETE FROM blocks WHERE {LAST}",
    ),
    "paddle has digests of 30 epochs, and the run 12": ("UPDATE runs SET epochs = 12",),
    f"paddle, epochs 0 to 0: {DIFFERENT} ": (
        "DELETE FROM epochs WHERE model = 'paddle'",
        f"INSERT INTO epochs SELECT 1, 'paddle', epoch, {COLUMNS} FROM epochs WHERE {PYTHON}",
    ),
}


@pytest.mark.parametrize("detail", CHANGES)
def test_what_is_changed_by_sql_is_named(store: Store, detail: str) -> None:
    assert fault_of(store) is None
    assert fault_after(store, *CHANGES[detail]).detail == detail.strip()


def test_the_epochs_of_a_model_without_digests_are_foreign(store: Store) -> None:
    found = fault_after(
        store,
        f"DELETE FROM blocks WHERE {PYTHON}",
        "UPDATE models SET digest = NULL",
        "UPDATE runs SET status = 'interrupted'",
    )
    assert found.detail == "python: epoch 0 is there, and the trainer did not store it"


def test_a_run_that_is_lengthened_while_it_is_read_is_not_judged(store: Store) -> None:
    read = store.run(1)
    store.resume_run(1, epochs=40, environment={}).append("paddle", history(10, first_epoch=30))
    with pytest.raises(UnsuitableRunError, match="run 1 has changed while it was read; try again"):
        first_fault(store, read)


def test_a_run_that_is_downsampled_while_it_is_read_is_not_judged(store: Store) -> None:
    read = store.run(1)
    execute(store, "DELETE FROM epochs WHERE epoch % 10 > 0", "UPDATE runs SET thinned_every = 10")
    with pytest.raises(StoreError, match="only a whole run can be verified"):
        first_fault(store, read)


def test_a_run_whose_digests_are_not_computed_yet_is_not_judged(store: Store) -> None:
    execute(store, f"UPDATE blocks SET digest = NULL WHERE {LAST}")
    with pytest.raises(StoreError, match="the digests of run 1 are not computed yet; `job db upgrade`"):
        fault_of(store)


def test_a_fault_of_a_run_without_digests_is_named(store: Store) -> None:
    found = fault_after(
        store,
        f"UPDATE blocks SET digest = NULL WHERE {LAST}",
        f"DELETE FROM epochs WHERE {PYTHON} AND epoch = 20",
    )
    assert found.detail == "python, epochs 12 to 29: epoch 20 is missing"


def test_digests_of_a_model_that_the_run_does_not_have_are_found(store: Store) -> None:
    found = fault_after(store, "INSERT INTO blocks VALUES (1, 'ghost', 9, 'ab')")
    assert found.detail == "ghost: there are digests, and the run has no such model"


def test_a_run_whose_status_was_changed_is_found(store: Store) -> None:
    found = fault_after(store, "UPDATE runs SET status = 'interrupted'")
    assert found.detail == "paddle has the digest of a completed run, and the run is interrupted"


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("moved", [1, 5])
def test_text_that_moved_from_one_row_to_the_next_is_found(store: Store, moved: int) -> None:
    one, other = (read_row(store, "python", epoch) for epoch in (20, 21))
    text = one["parameters"]
    write_row(store, one | {"parameters": text[:-moved]})
    write_row(store, other | {"parameters": f"{text[-moved:]},{other['parameters']}"})
    found = fault_of(store)
    assert found is not None
    assert found.first_epoch == 12


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("value", ["''", "parameters || ',' || parameters", "'[]'", "'[[1.0]]'", "'7'"])
def test_parameters_that_are_no_vector_are_found(store: Store, value: str) -> None:
    found = fault_after(store, f"UPDATE epochs SET parameters = {value} WHERE {PYTHON} AND epoch = 20")
    assert found.detail.startswith("python, epochs 12 to 29: a value in the store is corrupted: epoch 20: ")


def test_a_change_too_small_for_float32_is_found(store: Store) -> None:
    found = fault_after(
        store, f"UPDATE epochs SET test_loss = test_loss + 1e-15 WHERE {PYTHON} AND epoch = 8"
    )
    assert found.detail == "python, epochs 4 to 11: epoch 8: the test loss was changed: it is no float32"
    if store.path:  # PostgreSQL's column can hold nothing but float32
        row = read_row(store, "paddle", 9)
        write_row(store, row | {"parameters": row["parameters"].replace(",", "000001,", 1)})
        assert (other := fault_of(store)) is not None
        assert other.detail == "paddle, epochs 4 to 11: epoch 9: a parameter was changed: it is no float32"
