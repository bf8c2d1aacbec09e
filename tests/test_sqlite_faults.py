"""Every fault of a SQLite file gives one clear line, and what was committed stays readable."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from db.errors import StoreError, StoreFailedError
from db.store import Store
from db.version import HEAD
from job.cli import run
from tests.conftest import job_command
from tests.samples import dataset_row, history, sqlite_file, write_csv

Output = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A store with one completed run."""
    path = tmp_path / "ledger.db"
    with Store(f"sqlite:///{path}", create=True) as store:
        writer = store.start_run(dataset_row(), epochs=5, learning_rate=0.1, seed=0, environment={})
        writer.append("paddle", history())
        writer.append("python", history())
        writer.finish("completed")
    return path


def refusal(arguments: list[str], capsys: Output) -> str:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


@pytest.mark.sqlite
@pytest.mark.parametrize("command", [["runs"], ["show"], ["train", "--epochs", "1"], ["db", "upgrade"]])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"these are my notes, not a database. " * 40, "the file is not a SQLite database: "),
        (b"SQLite format 3\0" + b"\1" * 4096, "the file is "),
    ],
    ids=["text", "broken-header"],
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(
    command: list[str], content: bytes, message: str, tmp_path: Path, capsys: Output
) -> None:
    (path := tmp_path / "notes.db").write_bytes(content)
    assert message in refusal([*command, "--database-url", f"sqlite:///{path}"], capsys)
    assert path.read_bytes() == content


@pytest.mark.sqlite
@pytest.mark.parametrize("command", [["runs"], ["train", "--epochs", "1"], ["db", "upgrade"]])
def test_a_database_with_tables_of_our_names_is_refused(
    command: list[str], tmp_path: Path, capsys: Output
) -> None:
    path = tmp_path / "foreign.db"
    with sqlite_file(path) as connection:
        connection.execute("CREATE TABLE runs (marathon TEXT)")
    message = refusal([*command, "--database-url", f"sqlite:///{path}"], capsys)
    assert "already has tables named runs that are not this project's" in message


@pytest.mark.sqlite
@pytest.mark.parametrize("command", [["runs"], ["train", "--epochs", "1"], ["db", "upgrade"]])
def test_a_newer_schema_is_refused(command: list[str], file: Path, capsys: Output) -> None:
    with sqlite_file(file) as connection:
        connection.execute("UPDATE ledger_version SET version_num = '9001'")
    message = refusal([*command, "--database-url", f"sqlite:///{file}"], capsys)
    assert f"has schema 9001 and this version knows only {HEAD}" in message


@pytest.mark.sqlite
def test_an_older_schema_names_the_command_that_lifts_it(file: Path, capsys: Output) -> None:
    with sqlite_file(file) as connection:
        connection.execute("UPDATE ledger_version SET version_num = '0000'")
    assert "run: job db upgrade" in refusal(["runs", "--database-url", f"sqlite:///{file}"], capsys)


def corrupt(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.seek(4096 * 3)
        stream.write(b"\xff" * 4096 * 4)


@pytest.mark.sqlite
def test_a_corrupted_file_is_one_line(file: Path, capsys: Output) -> None:
    corrupt(file)
    assert run(["show", "--database-url", f"sqlite:///{file}"]) == 2
    assert "the database file is corrupted" in capsys.readouterr().err


def bound_by_permissions(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command as a user to whom file permissions apply; root must drop a privilege for that."""
    as_anybody = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    return subprocess.run(
        [*as_anybody, *job_command(*arguments)], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.slow
@pytest.mark.parametrize("directory_too", [False, True])
def test_a_read_only_file_can_be_read_but_not_trained_into(
    directory_too: bool, file: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = write_csv(file.parent / "made.csv")
    copy = tmp_path_factory.mktemp("elsewhere") / "copy.db"
    file.chmod(0o444)
    file.parent.chmod(0o555 if directory_too else 0o755)
    url = f"sqlite:///{file}"
    shown = bound_by_permissions("show", 1, "--database-url", url)
    assert shown.returncode == 0, shown.stderr
    assert "completed" in shown.stdout
    for command, said in (
        (("check",), "the schema is what this version expects"),
        (("current",), f"the store has schema {HEAD}"),
        (("backup", copy), f"is backed up to {copy}"),
    ):
        done = bound_by_permissions("db", *command, "--database-url", url)
        assert (done.returncode, done.stderr) == (0, "")
        assert said in done.stdout
    with Store(f"sqlite:///{copy}") as store:
        assert store.run(1).status == "completed"
    refused = bound_by_permissions("train", "--epochs", 1, "--data", data, "--database-url", url)
    assert refused.returncode == 2
    assert f"the database is read only: {file}" in refused.stderr
    refused = bound_by_permissions("prune", "--archive-older-than", "0d", "--database-url", url)
    assert refused.returncode == 2
    assert f"the database is read only: {file}" in refused.stderr
    file.parent.chmod(0o755)


@pytest.mark.process
def test_what_somebody_is_writing_is_read_from_a_closed_directory_too(file: Path) -> None:
    with Store(f"sqlite:///{file}") as writing:
        writing.start_run(dataset_row(), epochs=7_777, learning_rate=0.1, seed=0, environment={})
        file.parent.chmod(0o555)
        listed = bound_by_permissions("runs", "--json", "--database-url", f"sqlite:///{file}")
        file.parent.chmod(0o755)
    assert listed.returncode == 0, listed.stderr
    assert "7777" in listed.stdout


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
from job.__main__ import main
main()
"""


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_one_line_and_keeps_what_was_committed(tmp_path: Path) -> None:
    """The file may not grow beyond 400 kB, which to SQLite is like a full disk."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    arguments = ["train", "--epochs", "5000", "--database-url", url]
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("job: error: ") == 1
    assert "go on with: job resume 1" in done.stderr
    assert "Traceback" not in done.stderr
    with Store(url) as store:
        progress = store.progress(1)
        assert 0 < min(progress.values()) < 5000
        assert len(store.history(1, "paddle")) == progress["paddle"]
        store.checkpoints(1)  # without gaps, so it can be resumed
    with sqlite_file(url) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_readers_do_not_block_a_trainer_nor_a_trainer_readers(file: Path) -> None:
    url = f"sqlite:///{file}"
    with Store(url) as store, Store(url, database_timeout=0.5) as other:
        writer = store.start_run(dataset_row(), epochs=9, learning_rate=0.1, seed=0, environment={})
        with other.engine.connect() as reader:
            before = reader.exec_driver_sql("SELECT count(*) FROM epochs").scalar()
            writer.append("paddle", history())  # while a read transaction is open
            assert reader.exec_driver_sql("SELECT count(*) FROM epochs").scalar() == before
        with store.engine.execution_options(write=True).begin() as busy:
            busy.exec_driver_sql("UPDATE runs SET seed = 1")
            assert len(other.runs()) == 2  # while a write transaction is open


@pytest.mark.slow
def test_a_writer_that_stays_too_long_is_waited_for_up_to_the_limit(file: Path) -> None:
    url = f"sqlite:///{file}"
    lines: list[str] = []
    with (
        Store(url) as store,
        Store(url, database_timeout=4, log_line=lines.append) as other,
        store.engine.execution_options(write=True).begin() as busy,
    ):
        busy.exec_driver_sql("UPDATE runs SET seed = 1")
        with pytest.raises(StoreFailedError) as failure:
            other.start_run(dataset_row(), epochs=1, learning_rate=1, seed=0, environment={})
    assert "locked" not in str(failure.value)
    assert len(lines) == 1
    assert "another writer has kept it busy" in lines[0]


def test_a_directory_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a directory, not a database file"):
        Store(f"sqlite:///{tmp_path}")
