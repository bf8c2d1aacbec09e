"""The logs of deleted runs are removed, and nothing else in a log directory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from sqlalchemy import delete

from db.schema import RunRow
from db.store import Store
from job.mirror.deleted import remove
from job.mirror.logs import lock_run
from job.mirror.repair import repair_logs
from tests.conftest import Job
from tests.samples import dataset_row, history
from tests.visualdl_logs import assert_run_drawn, log_of


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def said() -> list[str]:
    return []


def trained(store: Store) -> int:
    writer = store.start_run(dataset_row(), epochs=10, learning_rate=0.1, seed=0, environment={})
    for model in ("paddle", "python"):
        writer.append(model, history(10))
    writer.finish("completed")
    return writer.run_id


def forget(store: Store, *runs: int) -> None:
    """Delete runs as `job prune` finally does."""
    store.write(lambda session, _: session.execute(delete(RunRow).where(RunRow.id.in_(runs))))


def directories(log_dir: Path) -> list[str]:
    return sorted(path.name for path in log_dir.iterdir() if path.name != ".locks")


@pytest.fixture
def deleted(store: Store, log_dir: Path, said: list[str]) -> tuple[Path, int]:
    """Three drawn runs, of which the middle one is deleted. Its logs, and the first run."""
    first, middle, _ = (trained(store) for _ in range(3))
    repair_logs(store, log_dir, said.append)
    forget(store, middle)
    return log_dir / str(middle), first


def test_the_logs_of_deleted_runs_are_removed(store: Store, log_dir: Path, said: list[str]) -> None:
    runs = [trained(store) for _ in range(4)]
    repair_logs(store, log_dir, said.append)
    forget(store, *runs[:2])
    repair_logs(store, log_dir, said.append)
    assert directories(log_dir) == [str(run) for run in runs[2:]]
    assert said == [f"removed the logs of runs that the store has no more: {runs[0]}, {runs[1]}"]
    for run in runs[2:]:
        assert_run_drawn(log_dir, store, run)


def test_job_mirror_all_removes_them_too(
    store: Store, database_url: str, log_dir: Path, job: Job, deleted: tuple[Path, int]
) -> None:
    done = job("mirror", "--all", "--log-dir", log_dir, "--database-url", database_url)
    assert done.returncode == 0
    assert f"job: removed the logs of runs that the store has no more: {deleted[0].name}\n" in done.stderr
    assert not deleted[0].exists()


@pytest.mark.parametrize(
    "what",
    [
        *("file", "beside a log", "copy", "pipe", "link", "directory is a link"),
        *("another store's", "unmarked"),
    ],
)
def test_a_directory_with_anything_foreign_stays_as_it_is(
    store: Store, log_dir: Path, said: list[str], deleted: tuple[Path, int], what: str
) -> None:
    directory, _ = deleted
    log = log_of(log_dir, int(directory.name), "paddle")
    if what == "file":
        (directory / "notes.txt").write_text("mine")
    elif what == "beside a log":
        log.with_name("notes.txt").write_text("mine")
    elif what == "pipe":
        log.unlink()
        os.mkfifo(log.with_name("new.log"))
    elif what == "link":
        log.symlink_to(log.rename(log_dir / "elsewhere"))
    elif what == "directory is a link":
        directory.symlink_to(directory.rename(log_dir / "elsewhere"))
    elif what == "copy":
        shutil.copy(log, log.with_name("copy.log"))
    elif what == "another store's":
        (directory / "store.id").write_text("0" * 32)
    else:
        (directory / "store.id").unlink()
    before = sorted(path.relative_to(directory) for path in directory.rglob("*"))
    repair_logs(store, log_dir, said.append)
    assert sorted(path.relative_to(directory) for path in directory.rglob("*")) == before
    assert not any("removed" in line for line in said)


@pytest.mark.parametrize("prefix", ["0", "run-"])
def test_a_name_that_is_no_runs_number_stays(
    store: Store, log_dir: Path, said: list[str], deleted: tuple[Path, int], prefix: str
) -> None:
    other = deleted[0].rename(log_dir / f"{prefix}{deleted[0].name}")
    repair_logs(store, log_dir, said.append)
    assert len(list(other.rglob("*.log"))) == 2
    assert said == []


def test_logs_that_are_being_drawn_are_left(
    store: Store, log_dir: Path, said: list[str], deleted: tuple[Path, int]
) -> None:
    lock = lock_run(log_dir, int(deleted[0].name), 0)
    try:
        repair_logs(store, log_dir, said.append)
    finally:
        lock.release()
    assert len(list(deleted[0].rglob("*.log"))) == 2


def test_a_half_removed_directory_is_removed_next_time(
    store: Store, log_dir: Path, said: list[str], deleted: tuple[Path, int]
) -> None:
    log_of(log_dir, int(deleted[0].name), "paddle").unlink()
    repair_logs(store, log_dir, said.append)
    assert not deleted[0].exists()


def test_a_store_without_runs_removes_nothing(
    store: Store, log_dir: Path, said: list[str], tmp_path: Path
) -> None:
    run = trained(store)
    repair_logs(store, log_dir, said.append)
    with Store(f"sqlite:///{tmp_path}/empty.db", create=True) as empty:
        repair_logs(empty, log_dir, said.append)
    assert directories(log_dir) == [str(run)]


def test_the_logs_of_another_store_stay(store: Store, log_dir: Path, said: list[str], tmp_path: Path) -> None:
    """Also if the other store's runs were drawn over those of the same numbers."""
    theirs = [trained(store) for _ in range(5)]
    repair_logs(store, log_dir, said.append)
    with Store(f"sqlite:///{tmp_path}/other.db", create=True) as other:
        runs = [trained(other) for _ in range(6)]
        forget(other, *runs[2:5])
        for _ in range(2):
            repair_logs(other, log_dir, said.append)
    assert directories(log_dir) == sorted(str(run) for run in {*theirs, runs[5]})
    assert not any("removed" in line for line in said)


def test_logs_that_cannot_be_removed_are_told_and_the_others_go(
    store: Store, log_dir: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [trained(store) for _ in range(3)]
    repair_logs(store, log_dir, said.append)
    forget(store, *runs[:2])
    rmdir = Path.rmdir

    def refuse(path: Path) -> None:
        if path.name == str(runs[0]):
            raise PermissionError("not this one")
        rmdir(path)

    monkeypatch.setattr(Path, "rmdir", refuse)
    repair_logs(store, log_dir, said.append)
    assert said == [
        f"the logs of run {runs[0]}, which the store has no more, cannot be removed: not this one",
        f"removed the logs of runs that the store has no more: {runs[1]}",
    ]


def test_the_logs_of_a_run_that_came_to_be_meanwhile_stay(
    store: Store, log_dir: Path, said: list[str]
) -> None:
    run = trained(store)
    repair_logs(store, log_dir, said.append)
    assert not remove(store, log_dir, run)
    assert_run_drawn(log_dir, store, run)


def test_runs_after_the_stores_newest_stay(store: Store, log_dir: Path, said: list[str]) -> None:
    """They were drawn before a backup was restored, or are another store's."""
    runs = [trained(store) for _ in range(3)]
    repair_logs(store, log_dir, said.append)
    forget(store, *runs[1:])
    repair_logs(store, log_dir, said.append)
    assert directories(log_dir) == [str(run) for run in runs]


def test_a_run_that_is_back_when_its_logs_are_locked_keeps_them(
    store: Store, log_dir: Path, said: list[str]
) -> None:
    """Between the list of runs and the lock, a store that is being restored may get the run back."""
    run = trained(store)
    repair_logs(store, log_dir, said.append)
    assert remove(store, log_dir, run) is False
    assert_run_drawn(log_dir, store, run)
    lock_run(log_dir, run, 0).release()
    forget(store, run)
    assert remove(store, log_dir, run) is True
    assert directories(log_dir) == []
