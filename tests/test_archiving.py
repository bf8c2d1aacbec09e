"""An archived run gives every reader what it gave before; what is archived, and the way back."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from db import archiving, lease, retention
from db.archive import pack, unpack
from db.archiving import archive, unarchive
from db.baselines import add_baseline
from db.epochs import kept_epochs
from db.errors import CorruptedError, StoreError, StoreFailedError, UnsuitableRunError
from db.history import History
from db.integrity import Fault, first_fault
from db.lease import lock_run
from db.query import named_queries
from db.retention import Policy, apply_pruning, prunings
from db.schema import BaselineRow
from db.store import Store
from db.sweeps import losses
from job.cli import run as command
from job.named_query import run_named_query
from job.verdicts.drift import compare
from tests.faults import child, ended, lost_commit
from tests.pruning import OLD, Killed, actions, after_each_batch, failed, ids, kill, made, prune
from tests.samples import dataset_row, execute, histories

Output = pytest.CaptureFixture[str]
MODELS = ("paddle", "python")
OF_A_RUN = [query.name for query in named_queries() if "run" in query.parameters]


def whole(store: Store, run: int) -> dict[str, History]:
    return {model: store.history(run, model) for model in MODELS}


def same(one: History, other: History) -> bool:
    return one.same_bits(other) and one.trained_at.tobytes() == other.trained_at.tobytes()


def scalar(store: Store, sql: str) -> Any:
    return store.read(lambda session: session.scalar(text(sql)))


def rows(store: Store) -> list[Any]:
    """Every row of `epochs`, as the database has it."""
    sql = text("SELECT * FROM epochs ORDER BY run_id, model, epoch")
    return [tuple(row) for row in store.read(lambda session: session.execute(sql).all())]


def twin(store: Store, seed: int = 5, **settings: Any) -> int:
    """A completed run with the bits of its twins, trained at its own time."""
    values: dict[str, Any] = {"epochs": 30, "learning_rate": 0.1, "seed": 0, "environment": {}}
    writer = store.start_run(dataset_row(), **values | settings)
    for model, own in histories(30, seed=seed).items():
        own.trained_at[:] += 1000.25 * writer.run_id
        writer.append(model, own)
    writer.finish("completed")
    return writer.run_id


def test_an_archived_run_keeps_few_rows_and_every_bit(store: Store) -> None:
    run = made(store, epochs=300)
    before, stored = whole(store, run), rows(store)
    best = [int(np.argmin(each)) for own in before.values() for each in (own.train_loss, own.test_loss)]
    kept = sorted({0, 299, *best})
    assert archive(store, run) == 2 * (300 - len(kept))
    assert rows(store) == [row for row in stored if row[2] in kept]
    assert all(same(own, store.history(run, model)) for model, own in before.items())
    row = store.run(run)
    assert (row.archived, row.whole) == (True, True)
    assert store.progress(run) == dict.fromkeys(MODELS, 300)
    assert first_fault(store, row) is None


@pytest.mark.parametrize(
    "part", [(0, None, 1), (7, None, 1), (7, 20, 1), (0, None, 10), (13, 33, 5), (39, 50, 1), (40, None, 1)]
)
def test_parts_of_a_history_are_those_that_the_rows_gave(store: Store, part: tuple[Any, ...]) -> None:
    run = made(store)
    before = store.history(run, "python", *part)
    archive(store, run)
    assert store.history(run, "python", *part).epoch.tolist() == before.epoch.tolist()
    if len(before):
        assert same(store.history(run, "python", *part), before)


def test_every_named_query_has_the_answer_that_it_had(store: Store) -> None:
    runs = [made(store, trigger="sweep", sweep="swept", seed=seed) for seed in (1, 2)]

    def answers() -> list[Any]:
        row = store.run(runs[0])
        about = [run_named_query(store, name, row).rows for name in OF_A_RUN]
        found = [run_named_query(store, name, None).rows for name in ("runs-by-final-loss", "same-bits")]
        return [*about, *found, run_named_query(store, "sweep", None, {"name": "swept"}).rows]

    before, curves = answers(), losses(store, "swept", [0, 3, 17, 39, 99])
    assert len(curves) == 2 * 4
    read_before = store.run(runs[0])
    archive(store, runs[0])
    assert answers() == before
    assert run_named_query(store, "losses", read_before, {"every": 1}).rows[2:4] == [
        (1, model, float(own.train_loss[1]), float(own.test_loss[1]))
        for model, own in whole(store, runs[0]).items()
    ], "also where it was archived only after it was read"
    assert losses(store, "swept", [0, 3, 17, 39, 99]) == curves


def test_an_archived_run_is_compared_bit_by_bit(store: Store) -> None:
    one, other, different = twin(store), twin(store), twin(store, seed=6)
    first = compare(store, store.run(one), store.run(different)).differences["paddle"].first_epoch
    for run in (one, other, different):
        archive(store, run)
    found = compare(store, store.run(one), store.run(different)).differences["paddle"]
    assert found.first_epoch == first == 0
    assert compare(store, store.run(one), store.run(other)).differences["paddle"].first_epoch is None


def test_models_with_the_same_digest_share_an_archive_until_none_is_left(store: Store) -> None:
    nights = [twin(store, trigger="nightly") for _ in range(3)]
    before = [whole(store, run) for run in nights]
    for run in nights:
        archive(store, run)
    assert scalar(store, "SELECT count(*) FROM archives") == 2
    for run, own in zip(nights, before, strict=True):
        assert all(same(each, store.history(run, model)) for model, each in own.items())
    prune(store, keep_nights=1)
    assert ids(store) == nights[2:]
    assert scalar(store, "SELECT count(*) FROM archives") == 2
    last = twin(store, trigger="nightly")
    prune(store, keep_nights=1)
    assert ids(store) == [last]
    assert scalar(store, "SELECT count(*) FROM archives") == 0


def test_what_is_due_is_archived_also_where_it_would_be_kept_or_thinned(store: Store) -> None:
    surplus, kept_by_failure, baseline, newest = (made(store) for _ in range(4))
    by_hand = made(store, trigger="manual")
    young = made(store, trigger="manual", age=OLD / 2 - timedelta(days=1))
    made(store, status="interrupted", trigger="manual")
    made(store, status="diverged", trigger="manual")
    failed(store, kept_by_failure)
    add_baseline(store, BaselineRow(kind="set", run_id=baseline, reason="why", set_by="somebody"))
    due = {"archive_older_than": OLD / 2}
    everything = {"keep_nights": 1, "thin_older_than": OLD / 2, "every": 10, **due}
    of_nights = {surplus: "delete", kept_by_failure: "archive", baseline: "archive", newest: "archive"}
    assert actions(store, **everything) == {**of_nights, by_hand: "archive", 8: "thin"}
    prune(store, **everything)
    assert [store.run(run).archived for run in ids(store)] == [True] * 4 + [False] * 3
    assert not store.run(young).archived
    assert actions(store, thin_older_than=OLD / 2, every=20) == {8: "thin"}
    assert actions(store, **due) == {}, "neither archived nor downsampled ones"


def test_a_run_without_its_digests_is_not_archived(store: Store) -> None:
    run = made(store)
    execute(store, f"UPDATE models SET digest = NULL WHERE run_id = {run} AND name = 'python'")
    assert actions(store, archive_older_than=OLD / 2) == {}


def test_a_run_that_is_lengthened_while_it_is_read_is_not_archived(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(store, trigger="manual")
    packed_form = archiving.packed_form

    def meanwhile(history: History) -> Any:
        if store.run(run).status == "completed":
            store.resume_run(run, epochs=60, environment={})
        return packed_form(history)

    monkeypatch.setattr(archiving, "packed_form", meanwhile)
    with pytest.raises(UnsuitableRunError, match=f"run {run} is not completed, or has changed while"):
        archive(store, run)
    assert not store.run(run).archived


def test_a_run_that_was_archived_meanwhile_is_not_downsampled(store: Store) -> None:
    run = made(store, trigger="manual")
    rules = Policy(thin_older_than=OLD / 2, every=10)
    (pruning,) = prunings(store, rules)
    archive(store, run)
    assert apply_pruning(store, pruning, rules) is None
    assert store.run(run).whole


def test_epochs_that_are_not_what_was_written_are_left_alone(database_url: str, capsys: Output) -> None:
    with Store(database_url) as store:
        runs = [made(store, trigger="manual") for _ in range(2)]
        execute(
            store,
            f"UPDATE epochs SET test_loss = 0.5 WHERE run_id = {runs[0]} AND epoch = 7 AND model = 'python'",
        )
        before = rows(store)
        ask = ["prune", "--archive-older-than", "90d", "--database-url", database_url]
        assert command(ask) == 1
        said = capsys.readouterr()
        assert said.err == (
            f"job: run {runs[0]} is left as it is: python, epochs 0 to 39: not what was written: the epochs "
            "or their digest were changed\n"
        )
        assert "kept" in said.out
        assert "the store takes" in said.out
        assert [row for row in rows(store) if row[0] == runs[0]] == before[:80]
        assert [store.run(run).archived for run in runs] == [False, True]
        assert command([*ask, "--json"]) == 1
        (found,) = json.loads(capsys.readouterr().out)
        assert (found["action"], found["rows_removed"]) == ("keep", 0)


def flip(store: Store, at: int = 30) -> None:
    """Flip the bits of a byte of each archive."""
    found = store.read(lambda session: session.execute(text("SELECT digest, packed FROM archives")).all())
    change = text("UPDATE archives SET packed = :packed WHERE digest = :digest")
    for digest, packed in found:
        damaged = packed[:at] + bytes([packed[at] ^ 255]) + packed[at + 1 :]
        given = {"packed": damaged, "digest": digest}
        store.write(lambda session, _, given=given: session.execute(change, given))  # type: ignore[misc]


def test_an_archive_with_the_right_bits_outlives_rows_that_were_changed_before_they_were_deleted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(store)
    before = whole(store, run)
    with monkeypatch.context() as patch:
        patch.setattr(retention, "remove", lambda *_: 1 / 0)  # stands for a kill before the first deletion
        with pytest.raises(ZeroDivisionError):
            archive(store, run)
    execute(store, f"UPDATE epochs SET test_loss = 0.5 WHERE run_id = {run} AND epoch = 7")
    found = archive(store, run)
    assert isinstance(found, Fault)
    assert f"the row of epoch 7 is not what its archive has; `job db unarchive {run}` puts" in found.detail
    unarchive(store, run)
    assert all(same(own, store.history(run, model)) for model, own in before.items())
    assert first_fault(store, store.run(run)) is None


@pytest.mark.parametrize("table", ["archives", "archived_models"])
def test_a_run_whose_archive_is_missing_is_not_put_back(sqlite_url: str, table: str) -> None:
    with Store(sqlite_url, create=True) as store:
        run = made(store)
        archive(store, run)
        assert store.path
        with closing(sqlite3.connect(store.path)) as tampering, tampering:  # it checks no foreign keys
            tampering.execute(f"DELETE FROM {table} WHERE digest = (SELECT min(digest) FROM {table})")
        before = rows(store)
        with pytest.raises(StoreFailedError, match="the archive is damaged"):
            unarchive(store, run)
        assert rows(store) == before
        assert isinstance(first_fault(store, store.run(run)), Fault)
        if table == "archives":  # the few rows that are left are not taken for the history
            with pytest.raises(CorruptedError, match="the archive is missing"):
                whole(store, run)


def test_a_run_is_not_archived_in_a_damaged_archive_that_it_would_share(store: Store) -> None:
    one, other = twin(store), twin(store)
    before = whole(store, other)
    archive(store, one)
    flip(store)
    found = archive(store, other)
    assert isinstance(found, Fault)
    assert "cannot be unpacked" in found.detail
    assert not store.run(other).archived
    assert all(same(own, store.history(other, model)) for model, own in before.items())
    assert first_fault(store, store.run(other)) is None


def test_rows_are_deleted_only_once_the_archive_was_read_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(store)
    before = rows(store)
    other = np.zeros((40, 6), np.float32)
    monkeypatch.setattr(archiving, "pack", lambda values: pack(values if len(values[0]) == 1 else other))
    assert isinstance(archive(store, run), Fault)
    monkeypatch.setattr(archiving, "pack", lambda values: pack(values + (len(values[0]) == 1)))
    found = archive(store, run)
    assert isinstance(found, Fault), "nor if only the times are others"
    assert "is not what its archive has" in found.detail
    assert rows(store) == before
    assert not store.run(run).archived
    assert scalar(store, "SELECT count(*) FROM archives") == 0


def test_unarchiving_puts_every_row_back_as_it_was(database_url: str, capsys: Output) -> None:
    with Store(database_url) as store:
        run, other = twin(store), twin(store)
        before = rows(store)
        for each in (run, other):
            archive(store, each)
        assert command(["db", "unarchive", str(run), "--database-url", database_url]) == 0
        assert f"run {run} is no longer archived" in capsys.readouterr().out
        assert rows(store)[:60] == before[:60]
        assert (store.run(run).archived, store.run(other).archived) == (False, True)
        unarchive(store, other)
        assert rows(store) == before
        assert scalar(store, "SELECT count(*) FROM archives") == 0
        assert scalar(store, "SELECT count(*) FROM archived_models") == 0
        store.resume_run(run, epochs=40, environment={}).finish("interrupted")


def test_unarchiving_whose_answer_was_lost_is_done(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(store)
    before = rows(store)
    archive(store, run)
    lost_commit(store, monkeypatch, lambda: unarchive(store, run))
    assert rows(store) == before
    with pytest.raises(StoreError, match=f"run {run} is not archived; all of its epochs are rows"):
        unarchive(store, run)


def test_the_end_of_archiving_a_run_is_not_the_end_of_another(store: Store) -> None:
    half, other = made(store, trigger="manual"), made(store, trigger="manual")
    with pytest.raises(Killed), after_each_batch(kill):
        archive(store, half)
    archive(store, other)
    assert actions(store, keep_nights=5) == {half: "archive"}


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_an_archived_run_makes_the_store_smaller(store: Store) -> None:
    run = made(store, epochs=4000)
    before = store.size()
    archive(store, run)
    assert store.size() < before
    unarchive(store, run)
    assert store.size() >= before


def test_a_damaged_archive_is_found_named_and_not_put_back(database_url: str, capsys: Output) -> None:
    with Store(database_url) as store:
        run = made(store)
        archive(store, run)
        flip(store)
        before = rows(store)
        for words in (["verify", "--all"], ["db", "unarchive", str(run)]):
            assert command([*words, "--database-url", database_url]) == 1
        said = capsys.readouterr()
        assert "FAILED: paddle, epochs 0 to 39: a value in the store is corrupted: the archive" in said.out
        assert said.err.startswith(
            f"job: error: run {run}, paddle: the archive is damaged: the archive cannot"
        )
        assert said.err.count("\n") == 1
        assert rows(store) == before
        assert store.run(run).archived


def test_an_archive_of_other_numbers_is_found_and_not_put_back(store: Store) -> None:
    run = made(store)
    archive(store, run)
    of = "SELECT digest FROM archived_models WHERE model ="
    packed = f"SELECT o.packed FROM archives o WHERE o.digest = ({of} 'python')"
    execute(store, f"UPDATE archives SET packed = ({packed}) WHERE digest = ({of} 'paddle')")
    fault = first_fault(store, store.run(run))
    assert fault is not None
    assert fault.detail.startswith("paddle, epochs 0 to 39: not what was written")
    with pytest.raises(StoreFailedError, match="paddle: the archive is damaged: it has another digest"):
        unarchive(store, run)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "DELETE FROM epochs WHERE epoch = 39 AND model = 'python'",
            "python: the row of epoch 39 is missing",
        ),
        ("UPDATE epochs SET test_loss = 0.5 WHERE epoch = 39", "the row of epoch 39 is not what its archive"),
        ("UPDATE epochs SET trained_at = 1 WHERE epoch = 0", "the row of epoch 0 is not what its archive"),
        ("UPDATE epochs SET epoch = 40 WHERE epoch = 39", "epoch 40 is there, and the trainer did not store"),
    ],
)
def test_a_row_that_is_not_what_the_archive_has_is_found(store: Store, change: str, said: str) -> None:
    run = made(store)
    archive(store, run)
    execute(store, change)
    fault = first_fault(store, store.run(run))
    assert fault is not None
    assert said in fault.detail
    unarchive(store, run)
    assert first_fault(store, store.run(run)) is None


def test_an_archived_run_is_resumed_only_once_it_is_unarchived(store: Store) -> None:
    run = made(store, trigger="manual")
    archive(store, run)
    with pytest.raises(StoreError, match=f"run {run} is archived; `job db unarchive {run}` puts"):
        store.resume_run(run, epochs=60, environment={})


@pytest.mark.parametrize("backend", ["postgresql"])  # SQLite has only one write transaction
def test_a_run_that_is_archived_while_a_resume_waits_for_it_is_not_resumed(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(store, trigger="manual")

    def meanwhile(session: Session, run_id: int) -> None:
        with Store(database_url) as other:
            archive(other, run_id)
        lock_run(session, run_id)

    monkeypatch.setattr(lease, "lock_run", meanwhile)
    with pytest.raises(StoreError, match=f"run {run} is archived"):
        store.resume_run(run, epochs=60, environment={})


@pytest.mark.parametrize("then", [archive, unarchive])
def test_a_reader_sees_a_whole_history_while_another_process_changes_where_it_is(
    store: Store, database_url: str, then: Any
) -> None:
    run = made(store)
    if then is unarchive:
        archive(store, run)
    before = whole(store, run)
    changed: list[str] = []

    def meanwhile(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "FROM archived_models m" in statement and not changed:
            changed.append(statement)
            with Store(database_url) as other:
                then(other, run)

    event.listen(store.engine, "after_cursor_execute", meanwhile)
    found = store.history(run, "paddle")
    event.remove(store.engine, "after_cursor_execute", meanwhile)
    assert changed
    assert same(found, before["paddle"])
    assert store.run(run).archived == (then is archive)


def test_what_is_left_of_rows_after_a_kill_is_deleted_by_any_later_pruning(store: Store) -> None:
    run = made(store, trigger="manual")
    before = whole(store, run)
    with pytest.raises(Killed), after_each_batch(kill):
        archive(store, run)
    assert all(same(own, store.history(run, model)) for model, own in before.items())
    assert actions(store, keep_nights=5) == {run: "archive"}
    prune(store, keep_nights=5)
    assert len(rows(store)) == 2 * len(kept_epochs(before.values()))
    assert actions(store, archive_older_than=OLD / 2) == {}


def test_runs_and_show_say_that_a_run_is_archived(database_url: str, capsys: Output) -> None:
    with Store(database_url) as store:
        run = made(store)
        archive(store, run)
    assert command(["runs", "--database-url", database_url]) == 0
    assert "completed, archived" in capsys.readouterr().out
    assert command(["show", "--database-url", database_url]) == 0
    assert f"`job db unarchive {run}` puts its epochs back" in capsys.readouterr().out
    for words in ("runs", "show"):
        assert command([words, "--json", "--database-url", database_url]) == 0
        assert '"archived": true' in capsys.readouterr().out
    sql = ["query", "--run", str(run), "--sql", "SELECT count(*) FROM epochs WHERE run_id = :run"]
    assert command([*sql, "--database-url", database_url]) == 0
    assert "SQL sees its first, best and last epochs" in capsys.readouterr().err


def test_times_and_numbers_are_packed_as_the_schema_page_says(store: Store) -> None:
    run = made(store)
    before = store.history(run, "paddle")
    archive(store, run)
    sql = (
        "SELECT a.packed, a.epochs, a.columns, m.trained_at FROM archives a"
        " JOIN archived_models m ON m.digest = a.digest WHERE m.model = 'paddle'"
    )
    packed, epochs, columns, times = store.read(lambda session: session.execute(text(sql)).one())
    assert unpack(packed, epochs, columns, 4).tobytes() == before.values.tobytes()
    assert unpack(times, epochs, 1, 8)[:, 0].tobytes() == before.trained_at.tobytes()


@pytest.mark.slow
def test_processes_that_share_archives_do_not_disturb_each_other(store: Store, database_url: str) -> None:
    runs = [twin(store) for _ in range(2)]
    before = [whole(store, run) for run in runs]

    def there_and_back(run: int) -> None:
        with Store(database_url) as own:
            for _ in range(15):
                assert archive(own, run) == 2 * (30 - len(kept_epochs(before[0].values())))
                unarchive(own, run)

    children = [child(lambda run=run: there_and_back(run)) for run in runs]  # type: ignore[misc]
    assert [ended(each) for each in children] == [0, 0]
    for run, own in zip(runs, before, strict=True):
        assert all(same(each, store.history(run, model)) for model, each in own.items())
    assert scalar(store, "SELECT count(*) FROM archives") == 0
