"""The digest of a history depends on its bits alone, and is what docs/schema.md says."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.digest import extend, start
from db.epochs import blocks
from db.errors import StoreError
from db.history import History
from db.store import Store
from tests.samples import dataset_row, execute, history
from tests.samples import start as start_run

NAMES = ["x0", "x1", "x2", "bias"]


def as_documented(names: Sequence[str], epochs: Sequence[Sequence[float]]) -> str:
    """The digest of rows (train loss, test loss, parameters...), written from docs/schema.md alone."""
    text = "epoch-ledger 1\n"
    for name in names:
        text += name + "\n"
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    for number, values in enumerate(epochs):
        content = digest + struct.pack("<q", number)
        for value in values:
            content += struct.pack("<f", value)
        digest = hashlib.sha256(content).digest()
    return digest.hex()


def rows(of: History) -> list[list[float]]:
    table: list[list[float]] = np.column_stack([of.train_loss, of.test_loss, of.parameters]).tolist()
    return table


def stored_digest(store: Store, run_id: int, model: str = "paddle") -> str | None:
    return store.read(lambda session: blocks(session, run_id))[model][-1][1]


@pytest.mark.thorough
@given(
    values=st.lists(
        st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=6, max_size=6),
        max_size=6,
    ),
    cut=st.integers(0, 6),
)
def test_a_chain_of_any_pieces_is_as_documented(values: list[list[float]], cut: int) -> None:
    whole = History.empty(len(values), 4)
    for i, (train, test, *parameters) in enumerate(values):
        whole.train_loss[i], whole.test_loss[i], whole.parameters[i] = train, test, parameters
    pieces = extend(extend(start(NAMES), whole[:cut]), whole[cut:])
    assert pieces.hex() == as_documented(NAMES, values)


def test_names_cannot_be_moved_from_one_parameter_to_the_next() -> None:
    assert start(["ab", "c"]) != start(["a", "bc"]) != start(["abc"])


@pytest.mark.slow
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 11), max_size=4, unique=True).map(sorted), resumed=st.booleans())
def test_any_cut_into_blocks_and_any_resume_gives_one_digest(
    database_url: str, cuts: list[int], resumed: bool
) -> None:
    whole = history(12)
    with Store(database_url) as store:
        writer = start_run(store, epochs=12)
        for first, last in zip([0, *cuts], [*cuts, 12], strict=True):
            if resumed and first:
                writer.finish("interrupted")
                writer = store.resume_run(writer.run_id, environment={})
            for model in ("paddle", "python"):
                writer.append(model, whole[first:last])
        writer.finish("completed")
        expected = as_documented(NAMES, rows(whole))
        assert [model.digest for model in store.run(writer.run_id).models] == [expected] * 2
        assert stored_digest(store, writer.run_id) == expected


def test_a_run_has_a_digest_only_while_it_is_completed(database_url: str) -> None:
    with Store(database_url) as store:
        writer = start_run(store, epochs=5)
        for model in ("paddle", "python"):
            writer.append(model, history(5))
        assert [model.digest for model in store.run().models] == [None, None]
        writer.finish("completed")
        assert all(model.digest for model in store.run().models)
        store.resume_run(1, epochs=9, environment={})
        assert [model.digest for model in store.run().models] == [None, None]


def test_a_negative_zero_is_stored_as_a_loss_that_both_databases_have(database_url: str) -> None:
    with Store(database_url) as store:
        whole = history(5)
        whole.train_loss[2] = -0.0
        start_run(store).append("paddle", whole)
        read = store.history(1, "paddle")
        assert stored_digest(store, 1) == as_documented(NAMES, rows(read))


def test_epochs_are_not_stored_after_a_block_without_a_digest(database_url: str) -> None:
    with Store(database_url) as store:
        writer = start_run(store)
        writer.append("paddle", history(5))
        execute(store, "UPDATE blocks SET digest = NULL")
        writer.finish("interrupted")
        resumed = store.resume_run(1, environment={})
        with pytest.raises(StoreError, match="run 1 has no digest of paddle before epoch 5"):
            resumed.append("paddle", history(5, first_epoch=5))
        assert store.progress(1) == {"paddle": 5}


def test_a_dataset_of_other_features_has_another_digest(database_url: str) -> None:
    found = set()
    with Store(database_url) as store:
        for features in (3, 4):
            writer = store.start_run(
                dataset_row(features, name=f"{features}.csv"),
                epochs=5,
                learning_rate=0.1,
                seed=0,
                environment={},
            )
            writer.append("paddle", history(5, features))
            found.add(stored_digest(store, writer.run_id))
    assert len(found) == 2
