"""The logs of a run can always be drawn again from the store, whatever happened to them."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from db.lease import RunWriter
from db.store import Store
from job.errors import MirrorError
from job.mirror.logs import BusyError, RunLogs, lock_run
from job.mirror.repair import repair_logs, rewrite
from tests.conftest import Job
from tests.samples import history, start
from tests.visualdl_logs import assert_run_drawn, log_of

EPOCHS = 2_500  # more than the mirror reads at a time


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def said() -> list[str]:
    return []


def started(store: Store, epochs: int = 10) -> RunWriter:
    writer = start(store, epochs=epochs)
    for model in ("paddle", "python"):
        writer.append(model, history(epochs, seed=len(model)))
    return writer


def draw(store: Store, writer: RunWriter, log_dir: Path, said: list[str]) -> None:
    with RunLogs(log_dir, store.run(writer.run_id), said.append) as logs:
        logs.write(store)


def test_a_run_is_drawn_whole(store: Store, log_dir: Path, said: list[str]) -> None:
    writer = started(store, EPOCHS)
    draw(store, writer, log_dir, said)
    assert_run_drawn(log_dir, store, writer.run_id)
    assert said == []


def test_new_epochs_are_appended_to_the_same_file(store: Store, log_dir: Path, said: list[str]) -> None:
    writer = started(store)
    with RunLogs(log_dir, store.run(writer.run_id), said.append) as logs:
        logs.write(store)
        log = log_of(log_dir, writer.run_id, "paddle")
        before = log.stat().st_ino
        writer.append("paddle", history(5, first_epoch=10))
        logs.write(store)
    assert log.stat().st_ino == before
    assert_run_drawn(log_dir, store, writer.run_id)


def test_another_process_goes_on_where_the_file_ends(store: Store, log_dir: Path, said: list[str]) -> None:
    writer = started(store)
    draw(store, writer, log_dir, said)
    before = log_of(log_dir, writer.run_id, "paddle").stat().st_ino
    writer.append("paddle", history(5, first_epoch=10))
    draw(store, writer, log_dir, said)
    assert log_of(log_dir, writer.run_id, "paddle").stat().st_ino == before
    assert_run_drawn(log_dir, store, writer.run_id)
    assert said == []


@pytest.fixture
def drawn(store: Store, log_dir: Path, said: list[str]) -> tuple[RunWriter, Path]:
    """A run of ten epochs, drawn, and its paddle log."""
    writer = started(store)
    draw(store, writer, log_dir, said)
    return writer, log_of(log_dir, writer.run_id, "paddle")


# The last record, a histogram, is about a hundred bytes; the head is about two hundred.
@pytest.mark.parametrize("cut", [3, 60, 112, 140, 1500, -3, -100])
def test_a_torn_log_is_cut_and_gone_on_with(
    store: Store, log_dir: Path, said: list[str], drawn: tuple[RunWriter, Path], cut: int
) -> None:
    """Torn in a body, in a length, between records, in an earlier epoch, in the head."""
    writer, log = drawn
    os.truncate(log, log.stat().st_size - cut if cut > 0 else -cut)
    draw(store, writer, log_dir, said)
    assert_run_drawn(log_dir, store, writer.run_id)


@pytest.mark.slow
def test_every_byte_at_which_the_last_epochs_can_tear(
    sqlite_url: str, log_dir: Path, said: list[str]
) -> None:
    with Store(sqlite_url, create=True) as store:
        writer = started(store, 3)
        draw(store, writer, log_dir, said)
        log = log_of(log_dir, writer.run_id, "paddle")
        whole = log.read_bytes()
        for size in range(len(whole) - 200, len(whole)):
            os.truncate(log, size)
            draw(store, writer, log_dir, said)
            assert log.read_bytes() == whole
    assert all("torn end" in line for line in said)


@pytest.mark.parametrize("what", ["file", "model", "run", "everything"])
def test_deleted_logs_are_drawn_again(
    store: Store, log_dir: Path, said: list[str], drawn: tuple[RunWriter, Path], what: str
) -> None:
    writer, log = drawn
    if what == "file":
        log.unlink()
    else:
        shutil.rmtree({"model": log.parent, "run": log.parent.parent, "everything": log_dir}[what])
    draw(store, writer, log_dir, said)
    assert_run_drawn(log_dir, store, writer.run_id)


@pytest.mark.parametrize("what", ["doubled", "foreign", "empty", "of another run", "ahead of the store"])
def test_a_log_that_is_not_the_runs_is_drawn_anew(
    store: Store, log_dir: Path, said: list[str], drawn: tuple[RunWriter, Path], what: str
) -> None:
    writer, log = drawn
    content = log.read_bytes()
    before = log.stat().st_ino
    if what == "doubled":
        log.write_bytes(content + content)
    elif what == "foreign":
        log.write_bytes(b"vdl" * 1000)
    elif what == "empty":
        log.write_bytes(b"")
    elif what == "of another run":
        other = started(store)
        draw(store, other, log_dir, said)
        shutil.copy(log_of(log_dir, other.run_id, "paddle"), log)
    else:
        more = started(store, 12)
        draw(store, more, log_dir, said)
        log.write_bytes(content + log_of(log_dir, more.run_id, "paddle").read_bytes()[len(content) :])
    draw(store, writer, log_dir, said)
    assert_run_drawn(log_dir, store, writer.run_id)
    assert log.stat().st_ino != before  # by which a dashboard that has it open notices
    assert "written again" in said[-1]


def test_a_log_that_others_write_to_is_drawn_anew(store: Store, log_dir: Path, said: list[str]) -> None:
    writer = started(store)
    with RunLogs(log_dir, store.run(writer.run_id), said.append) as logs:
        logs.write(store)
        log = log_of(log_dir, writer.run_id, "paddle")
        log.write_bytes(log.read_bytes() + b"\x05 and more")
        writer.append("paddle", history(5, first_epoch=10))
        logs.write(store)
    assert said[0] == f"{log} was changed or removed by another process; repaired"
    assert_run_drawn(log_dir, store, writer.run_id)


def test_what_a_killed_drawing_left_is_removed(
    store: Store, log_dir: Path, said: list[str], drawn: tuple[RunWriter, Path]
) -> None:
    writer, log = drawn
    log.with_name("new.log").write_bytes(b"half a log")
    draw(store, writer, log_dir, said)
    assert [path.name for path in log.parent.iterdir()] == [log.name]


def test_drawing_tells_how_far_it_is(store: Store, log_dir: Path) -> None:
    run = store.run(started(store, EPOCHS).run_id)
    told: list[tuple[str, int, int]] = []
    rewrite(store, run, log_dir, print, lambda *line: told.append(line), timeout=0)
    reached = [(drawn, EPOCHS) for drawn in (1_000, 2_000, 2_500)]
    assert told == [(model, *figures) for model in ("paddle", "python") for figures in reached]


@pytest.mark.parametrize("what", ["run", "everything"])
def test_logs_that_vanish_while_they_are_drawn_come_back(
    store: Store, log_dir: Path, said: list[str], what: str
) -> None:
    writer = started(store)
    with RunLogs(log_dir, store.run(writer.run_id), said.append) as logs:
        logs.write(store)
        shutil.rmtree(logs.directory if what == "run" else log_dir)
        writer.append("paddle", history(5, first_epoch=10))
        logs.write(store)
    assert_run_drawn(log_dir, store, writer.run_id)


def test_a_run_has_one_writer(store: Store, log_dir: Path, said: list[str]) -> None:
    writer = started(store)
    run = store.run(writer.run_id)
    with RunLogs(log_dir, run, said.append) as logs:
        logs.write(store)
        with pytest.raises(BusyError, match=f"run {run.id} is being drawn"):
            rewrite(store, run, log_dir, said.append, lambda *_: None, timeout=0)
        repair_logs(store, log_dir, said.append)
    assert_run_drawn(log_dir, store, writer.run_id)
    rewrite(store, run, log_dir, said.append, lambda *_: None, timeout=0)


def test_a_log_directory_that_cannot_be_made_is_one_line(store: Store, tmp_path: Path) -> None:
    run = store.run(started(store).run_id)
    (tmp_path / "file").write_text("")
    with pytest.raises(MirrorError, match=r"file/logs cannot be made"):
        rewrite(store, run, tmp_path / "file" / "logs", print, lambda *_: None, timeout=0)


def test_mend_brings_every_run_in_order(store: Store, log_dir: Path, said: list[str]) -> None:
    runs = [started(store).run_id for _ in range(3)]
    repair_logs(store, log_dir, said.append)
    shutil.rmtree(log_dir / str(runs[0]))
    os.truncate(log_of(log_dir, runs[1], "python"), 700)
    repair_logs(store, log_dir, said.append)
    for run in runs:
        assert_run_drawn(log_dir, store, run)


def test_mend_begins_with_the_newest_run(sqlite_url: str, log_dir: Path) -> None:
    with Store(sqlite_url, create=True) as store:
        first, second = (started(store).run_id for _ in range(2))
        drawn: list[list[str]] = []
        repair_logs(store, log_dir, print, on_run=lambda *_: drawn.append(names(log_dir)))
    assert drawn == [[str(second)], [str(first), str(second)]]


def names(log_dir: Path) -> list[str]:
    """The names of the runs that are drawn."""
    return sorted(path.name for path in log_dir.iterdir() if path.name.isdecimal())


def test_mend_goes_on_after_a_run_that_cannot_be_drawn(store: Store, log_dir: Path, said: list[str]) -> None:
    newer, older = (started(store).run_id for _ in range(2))
    log_dir.mkdir()
    (log_dir / str(newer)).write_text("not a directory")
    repair_logs(store, log_dir, said.append)
    (line,) = said
    assert f"the logs of run {newer} are shown as they are" in line
    assert_run_drawn(log_dir, store, older)


def test_job_mirror_draws_one_run_or_all(store: Store, database_url: str, log_dir: Path, job: Job) -> None:
    runs = [started(store).run_id for _ in range(2)]
    options = ("--log-dir", log_dir, "--database-url", database_url)
    done = job("mirror", "latest", *options)
    assert (done.returncode, done.stdout) == (
        0,
        f"run {runs[1]} drawn to {log_dir / str(runs[1])}: paddle 10, python 10\n",
    )
    assert_run_drawn(log_dir, store, runs[1])
    assert not (log_dir / str(runs[0])).exists()
    log_of(log_dir, runs[1], "paddle").write_bytes(b"")
    assert job("mirror", "--all", *options).returncode == 0
    for run in runs:
        assert_run_drawn(log_dir, store, run)


def test_job_mirror_all_ends_with_status_1_if_a_run_cannot_be_drawn(
    store: Store, database_url: str, log_dir: Path, job: Job
) -> None:
    runs = [started(store).run_id for _ in range(3)]
    log_dir.mkdir()
    (log_dir / str(runs[0])).write_text("not a directory")
    options = ("--all", "--log-dir", log_dir, "--database-url", database_url)
    lock = lock_run(log_dir, runs[1], 0)
    try:
        done = job("mirror", *options)
    finally:
        lock.release()
    assert done.returncode == 1
    assert re.search(rf"run {runs[0]}: .*{runs[0]}.*: ", done.stderr)
    assert f"run {runs[1]} is being drawn by another process" in done.stderr
    assert_run_drawn(log_dir, store, runs[2])
    (log_dir / str(runs[0])).unlink()
    done = job("mirror", *options)
    assert done.returncode == 0
    assert [int(line.split()[1]) for line in done.stdout.splitlines()] == runs


@pytest.mark.parametrize("arguments", [(), ("1", "--all"), ("7",)])
def test_job_mirror_refuses_what_it_cannot_draw(
    sqlite_url: str, job: Job, arguments: tuple[str, ...]
) -> None:
    Store(sqlite_url, create=True).close()
    done = job("mirror", *arguments, "--database-url", sqlite_url)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert not Path("results").exists()
