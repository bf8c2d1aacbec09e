"""`job db backup`: a complete store at one moment, copied during a live run."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from db.store import Store
from db.version import HEAD
from job.cli import run as command
from tests.conftest import Job
from tests.samples import sqlite_file
from tests.trainers import start_and_wait

Output = pytest.CaptureFixture[str]
EPOCHS = 20_000  # more than are trained during the backup


@pytest.mark.slow
def test_a_backup_of_a_live_run_is_resumed_to_the_same_bits(
    sqlite_url: str, job: Job, tmp_path: Path
) -> None:
    trainer = start_and_wait(sqlite_url, EPOCHS)
    copy = tmp_path / "copy.db"
    done = job("db", "backup", copy, "--database-url", sqlite_url)
    assert done.returncode == 0, done.stderr
    assert trainer.poll() is None, "the trainer should still be at work"
    _, err = trainer.communicate(timeout=120)
    assert trainer.returncode == 0, err
    restored = f"sqlite:///{copy}"
    with Store(restored) as store:
        assert 0 < len(store.history(1, "python")) < EPOCHS
    resumed = job("resume", 1, "--heartbeat-timeout", 1, "--database-url", restored)
    assert resumed.returncode == 0, resumed.stderr
    with Store(restored) as ours, Store(sqlite_url) as theirs:
        for model in ("paddle", "python"):
            mine, whole = ours.history(1, model), theirs.history(1, model)
            assert mine.epoch.tolist() == list(range(EPOCHS))
            for column in ("train_loss", "test_loss", "parameters"):
                assert getattr(mine, column).tobytes() == getattr(whole, column).tobytes()


def refused(words: list[str], capsys: Output) -> str:
    """The one line that refuses a backup."""
    assert command(["db", "backup", *words]) in (1, 2)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


def test_nothing_is_overwritten(migrated_url: str, capsys: Output, tmp_path: Path) -> None:
    (tmp_path / "there.db").write_text("mine")
    assert "overwrites nothing" in refused(
        [str(tmp_path / "there.db"), "--database-url", migrated_url], capsys
    )
    assert (tmp_path / "there.db").read_text() == "mine"


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("sqlite:///nowhere.db", "copy.db", "there is no store"),
        ("sqlite:///empty.db", "copy.db", "nothing to back up"),
        ("sqlite:///text.db", "copy.db", "not a SQLite database"),
        ("sqlite:///ledger.db", "nowhere/copy.db", "No such file or directory"),
        (
            "postgresql://me:secret@127.0.0.1/x?sslmode=disable",
            "my copy.dump",
            "pg_dump --format=custom '--file=my copy.dump' 'postgresql://me@127.0.0.1/x?sslmode=disable'",
        ),
    ],
)
def test_what_cannot_be_backed_up_is_said(
    migrated_url: str, capsys: Output, tmp_path: Path, source: str, target: str, said: str
) -> None:
    (tmp_path / "empty.db").touch()
    (tmp_path / "text.db").write_text("no database " * 1000)
    before = sorted(tmp_path.iterdir())
    err = refused([target, "--database-url", source], capsys)
    assert said in err
    assert "secret" not in err
    assert sorted(tmp_path.iterdir()) == before


def test_a_full_disk_leaves_nothing_behind(
    migrated_url: str, capsys: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = sqlite3.connect

    def small(path: str, timeout: float = 5.0) -> sqlite3.Connection:
        connection = plain(path, timeout=timeout)
        if "copy.db" in str(path):
            connection.execute("PRAGMA max_page_count = 3")
        return connection

    monkeypatch.setattr("db.backends.sqlite.sqlite3.connect", small)
    before = sorted(tmp_path.iterdir())
    assert "full" in refused(["copy.db", "--database-url", migrated_url], capsys)
    assert sorted(tmp_path.iterdir()) == before


def test_a_damaged_store_is_not_backed_up_without_a_word(
    migrated_url: str, capsys: Output, tmp_path: Path
) -> None:
    path = Path(migrated_url.removeprefix("sqlite:///"))
    with sqlite_file(path) as connection:
        page, size = connection.execute(
            "SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size WHERE name = 'epochs'"
        ).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    before = sorted(tmp_path.iterdir())
    assert f"no backup was made: {path} is damaged: " in refused(
        ["copy.db", "--database-url", migrated_url], capsys
    )
    assert sorted(tmp_path.iterdir()) == before


def test_a_backup_is_on_the_disk_before_it_has_its_name(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    steps: list[tuple[str, int]] = []
    rename, sync = Path.replace, os.fsync

    def replace(path: Path, target: Path) -> Path:
        steps.append(("rename", path.stat().st_ino))
        return rename(path, target)

    def fsync(handle: int) -> None:
        steps.append(("fsync", os.fstat(handle).st_ino))
        sync(handle)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(os, "fsync", fsync)
    assert command(["db", "backup", "copy.db", "--database-url", migrated_url]) == 0
    file, directory = Path("copy.db").stat().st_ino, tmp_path.stat().st_ino
    assert steps == [("fsync", file), ("rename", file), ("fsync", directory)]


def test_what_a_backup_is_and_how_large_is_said(migrated_url: str, capsys: Output, tmp_path: Path) -> None:
    assert command(["db", "backup", "copy.db", "--database-url", migrated_url]) == 0
    size = (tmp_path / "copy.db").stat().st_size
    source = migrated_url.removeprefix("sqlite:///")
    assert capsys.readouterr().out == (
        f"{source} is backed up to copy.db: {size / 1_000_000:.1f} MB, schema {HEAD}\n"
    )
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == ["copy.db"]
