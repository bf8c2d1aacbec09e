"""A trainer whose connection broke writes nothing twice, and keeps its run unless another has taken it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from db.errors import LeaseLostError
from db.lease import RunWriter
from db.store import Store
from tests.faults import lost_commit
from tests.samples import ELSEWHERE, history, start


def away_once(then: Callable[[], object], monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    """Let every first attempt to write fail, as if the database were unreachable; call `then` meanwhile."""
    write = store.write

    def fails_once(work: Callable[[Session, int], object]) -> object:
        def attempt(session: Session, number: int) -> object:
            if number == 1:
                then()
                raise OperationalError("BEGIN", None, Exception("gone"), connection_invalidated=True)
            return work(session, number)

        return write(attempt)

    monkeypatch.setattr(store, "write", fails_once)


@pytest.mark.parametrize("way", ["append", "finish"])
def test_a_trainer_whose_database_was_away_takes_back_its_run_that_others_declared_crashed(
    way: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = start(store)

    def others() -> None:
        with store.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE runs SET status = 'crashed', stop_reason = 'no heartbeat'")

    away_once(others, monkeypatch, store)
    if way == "finish":
        writer.finish("interrupted", "why")
        assert (store.run().status, store.run().stop_reason) == ("interrupted", "why")
        return
    writer.append("paddle", history(2))
    run = store.run()
    assert (run.status, run.stop_reason, run.finished_at) == ("running", None, None)
    assert store.progress(run.id) == {"paddle": 2}


def test_a_trainer_whose_database_was_away_does_not_take_back_what_another_has_taken_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = start(store)

    def others() -> None:
        with store.engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE runs SET status = 'crashed', owner = '{ELSEWHERE}'")

    away_once(others, monkeypatch, store)
    with pytest.raises(LeaseLostError):
        writer.append("paddle", history(2))
    assert (store.run().status, store.run().owner) == ("crashed", ELSEWHERE)


def test_a_commit_whose_answer_was_lost_doubles_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    writers: list[RunWriter] = []
    lost_commit(store, monkeypatch, lambda: writers.append(start(store)))
    (writer,) = writers
    assert len(store.runs()) == 1
    lost_commit(store, monkeypatch, lambda: writer.append("paddle", history(5)))
    assert store.history(writer.run_id, "paddle").same_bits(history(5))
    lost_commit(store, monkeypatch, lambda: writer.finish("interrupted"))
    lost_commit(store, monkeypatch, lambda: store.resume_run(writer.run_id, environment={}))
    assert store.run(writer.run_id).resumes == 1
