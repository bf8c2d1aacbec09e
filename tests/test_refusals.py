"""A refused command leaves every row of every table as it was, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from db.archiving import archive
from db.lease import update_run
from db.owner import new_token
from db.schema import Base
from db.store import Store
from db.types import database_now
from job import cli
from job.cli import run
from job.data.dataset import load
from job.verdicts.baseline import set_baseline
from tests.samples import execute, history, write_csv

Output = pytest.CaptureFixture[str]
Tables = dict[str, list[str]]

WHOLE, OTHER_TABLE, EMPTY, HOLES, DIVERGED, THINNED, LIVE, DEAD = range(1, 9)
DEAD_WITH_HOLES, NIGHT, SWEEP, BROKEN, ARCHIVED = range(9, 14)
"""the runs of the store, by number; each one's seed is its number"""
READING = {"runs", "query", "plot", "report", "export", "mirror", "dashboard", "nights", "worker"} | {
    "models check",
    "data check",
    "baseline show",
    "db current",
    "db check",
    "db backup",
}
"""commands that write nothing that they could refuse"""
REFUSED = [
    "train --data nowhere.csv",
    "train --data made.csv --target none",
    "train --data made.csv --model nobody",
    "train --data made.csv --model python --model python",
    "train --data made.csv --model absent.py:Mine",
    "train --data made.csv --model other=nowhere.csv:Mine",
    f"train --resume --data made.csv --epochs 5 --learning-rate 0.1 --seed {HOLES}",
    f"train --resume --data made.csv --epochs 5 --learning-rate 0.1 --seed {DEAD_WITH_HOLES}",
    f"train --resume --data made.csv --epochs 5 --learning-rate 0.1 --seed {LIVE}",
    "resume 99",
    f"resume {HOLES} --data made.csv",
    f"resume {HOLES} --data made.csv --epochs 3100",
    f"resume {HOLES} --data other.csv",
    f"resume {DEAD_WITH_HOLES} --data made.csv",
    f"resume {BROKEN} --data made.csv --epochs 3100",
    f"resume {WHOLE} --data made.csv",
    f"resume {WHOLE} --data made.csv --epochs 4",
    f"resume {DIVERGED} --data made.csv",
    f"resume {THINNED} --data made.csv",
    f"resume {LIVE} --data made.csv",
    "show 99",
    "verify 99",
    f"verify {THINNED}",
    f"step {WHOLE} 5",
    f"step {WHOLE} 0 --data other.csv",
    f"step {EMPTY} 0",
    f"step {HOLES} 3",
    f"step {BROKEN} 4",
    f"step {OTHER_TABLE} 0 --data made.csv",
    f"audit {WHOLE} --data other.csv",
    f"audit {WHOLE} --all --seed 1",
    f"audit {EMPTY}",
    f"audit {THINNED}",
    f"bisect {WHOLE} 99",
    f"bisect {WHOLE} {WHOLE}",
    f"bisect {WHOLE} {EMPTY}",
    f"bisect {WHOLE} {OTHER_TABLE}",
    f"compare {WHOLE} 99",
    f"compare {WHOLE} {WHOLE}",
    f"compare {WHOLE} {OTHER_TABLE}",
    f"compare {WHOLE} {EMPTY}",
    f"compare {WHOLE} {THINNED}",
    "nightly --once --data nowhere.csv",
    "nightly --once --data made.csv",
    "nightly --cron never",
    "baseline set 99 --reason why",
    f"baseline set {WHOLE}",
    f"baseline set {WHOLE} --reason ",
    f"baseline set {OTHER_TABLE} --reason why",
    f"baseline set {EMPTY} --reason why",
    f"baseline set {DIVERGED} --reason why",
    f"baseline set {THINNED} --reason why",
    f"baseline set {LIVE} --reason why",
    f"resume {OTHER_TABLE} --data other.csv --epochs 9",
    "baseline clear 99 --reason why",
    f"baseline clear {WHOLE} --reason why",
    "baseline clear",
    "sweep --name swept --data other.csv --scheduler tcp://127.0.0.1:1",
    "sweep --name swept --data made.csv --seeds none --scheduler tcp://127.0.0.1:1",
    "prune",
    "prune --keep-nights 0",
    f"prune --keep-nights 1 --every {2**31}",
    "prune --archive-older-than soon",
    "db unarchive 99",
    f"db unarchive {WHOLE}",
    f"db unarchive {THINNED}",
    f"db unarchive {LIVE}",
    f"resume {ARCHIVED} --data made.csv --epochs 9",
    f"compare {ARCHIVED} {THINNED}",
    f"step {ARCHIVED} 5 --data made.csv",
    "db downgrade 0007",
    "db upgrade 9999",
    "db downgrade 9999",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two data files."""
    made = tmp_path_factory.mktemp("data")
    write_csv(made / "made.csv")
    write_csv(made / "other.csv", features=2)
    return made


@pytest.fixture(scope="module")
def full(shared_url: str, folder: Path) -> str:
    """URL of a store with a run of every kind; each has five epochs of each model, or lacks some."""
    made, other = load(folder / "made.csv"), load(folder / "other.csv")
    with Store(shared_url) as store:
        for number in range(WHOLE, ARCHIVED + 1):
            dataset = other if number == OTHER_TABLE else made
            writer = store.start_run(
                dataset.row(),
                epochs=5,
                learning_rate=0.1,
                seed=number,
                environment={"cpu": "some"},
                trigger={NIGHT: "nightly", SWEEP: "sweep"}.get(number, "manual"),
                sweep="swept" if number == SWEEP else None,
            )
            for model in ("paddle", "python") if number != EMPTY else ():
                whole = history(5, features=len(dataset.features))
                writer.append(model, whole[:2])
                writer.append(model, whole[4 if number in (HOLES, DEAD_WITH_HOLES) else 2 :])
            if number not in (LIVE, DEAD, DEAD_WITH_HOLES, NIGHT):
                ended = {HOLES: "interrupted", BROKEN: "interrupted", DIVERGED: "diverged"}
                writer.finish(ended.get(number, "completed"))
        gone = new_token().rpartition(":")[0] + ":1"  # as if the process number were a later process's
        execute(
            store,
            f"UPDATE runs SET thinned_every = 100 WHERE id = {THINNED}",
            f"UPDATE runs SET owner = '{gone}' WHERE id IN ({DEAD}, {DEAD_WITH_HOLES})",
        )
        break_a_value(store)
        assert isinstance(archive(store, ARCHIVED), int)
        set_baseline(store, store.run(OTHER_TABLE), "why", "somebody")
    return shared_url


def break_a_value(store: Store) -> None:
    """Corrupt the last vector of weights of the run BROKEN, in a way that each database allows."""
    spoilt = {"sqlite": "'[0.1,'", "postgresql": "'{}'"}[store.engine.dialect.name]
    execute(store, f"UPDATE epochs SET parameters = {spoilt} WHERE run_id = {BROKEN} AND epoch = 4")


@contextmanager
def beating(url: str) -> Iterator[None]:
    """While open, the live runs' heartbeats are renewed, as their trainers would."""
    over = threading.Event()
    with Store(url) as store:

        def beat() -> None:
            for number in (LIVE, NIGHT):
                statement = update_run(number).values(heartbeat_at=database_now())
                store.write(lambda session, _, s=statement: session.execute(s))  # type: ignore[misc]

        def beat_on() -> None:
            while not over.wait(0.1):
                beat()

        beat()
        trainer = threading.Thread(target=beat_on)
        trainer.start()
        try:
            yield
        finally:
            over.set()
            trainer.join()


def tables(url: str) -> Tables:
    """Every row of every table, as text, except the heartbeats of live runs."""
    found: Tables = {}
    with Store(url) as store, store.engine.connect() as connection:
        for name in [*Base.metadata.tables, "ledger_version"]:
            rows = [dict(row) for row in connection.exec_driver_sql(f"SELECT * FROM {name}").mappings()]
            for row in rows:
                if name == "runs" and row["id"] in (LIVE, NIGHT):
                    del row["heartbeat_at"]
            found[name] = sorted(map(str, rows))
    return found


@pytest.mark.parametrize("line", REFUSED)
def test_a_refused_command_leaves_every_row_as_it_was(
    full: str, folder: Path, capsys: Output, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    before = tables(full)
    with beating(full):
        assert run([*line.split(" "), "--database-url", full]) == 2
    said = capsys.readouterr()
    assert said.err.splitlines()[-1].startswith("job: error: "), said
    after = tables(full)
    if line.startswith("nightly --once"):  # its purpose is to record the scheduled run
        assert len(after.pop("scheduled_runs")) == len(before.pop("scheduled_runs")) + 1
    assert after == before


def test_every_command_is_among_those_that_are_tried() -> None:
    commands = set()
    for name in cli.COMMANDS:
        commands |= {f"{name} {each}" for each in getattr(cli.load(name), "commands", ())} or {name}
    tried = {" ".join(line.split()[: 2 if line.startswith(("db ", "baseline ")) else 1]) for line in REFUSED}
    assert tried | READING == commands
    assert not tried & READING
