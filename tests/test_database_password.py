"""A password comes from a file and appears in no message; a wrong one is reported at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url
from sqlalchemy.engine import URL

from db.engine import parse_url
from db.errors import StoreError
from tests.conftest import Job, administer

WITHOUT = "postgresql://ledger@db/ledger"
SECRET = "p@ss/w:rd %41"


@pytest.fixture
def password_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file named by the setting, with SECRET in it."""
    file = tmp_path / "password"
    file.write_text(SECRET + "\n")
    monkeypatch.setenv("JOB_DATABASE_PASSWORD_FILE", str(file))
    return file


@pytest.fixture
def role(postgresql_server: str) -> Iterator[URL]:
    """The URL of a role that may not log in."""
    administer(postgresql_server, "CREATE ROLE locked_out NOLOGIN")
    yield make_url(postgresql_server).set(username="locked_out")
    administer(postgresql_server, "DROP ROLE locked_out")


def test_the_files_password_is_used_as_it_stands(password_file: Path) -> None:
    assert parse_url(WITHOUT).password == SECRET


def test_a_password_in_the_url_comes_first(password_file: Path) -> None:
    assert parse_url("postgresql://ledger:mine@db/ledger").password == "mine"


def test_sqlite_needs_no_password(password_file: Path) -> None:
    password_file.unlink()
    assert parse_url("sqlite:///ledger.db").password is None


@pytest.mark.parametrize("content", [b"", b"\n", b"hush\nhush\n", b"\xff\xfehush", b"hush\0hush"])
def test_a_file_that_holds_no_password_is_refused_without_repeating_it(
    password_file: Path, content: bytes
) -> None:
    password_file.write_bytes(content)
    with pytest.raises(StoreError, match="JOB_DATABASE_PASSWORD_FILE: ") as error:
        parse_url(WITHOUT)
    assert "hush" not in str(error.value)


def test_a_missing_password_file_is_one_line(job: Job, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    result = job("runs", JOB_DATABASE_URL=WITHOUT, JOB_DATABASE_PASSWORD_FILE=str(gone))
    line = f"job: error: JOB_DATABASE_PASSWORD_FILE: {gone} cannot be read: No such file or directory\n"
    assert (result.returncode, result.stderr) == (2, line)


def test_a_refused_login_is_one_line_at_once_without_the_password(
    job: Job, role: URL, password_file: Path
) -> None:
    result = job("runs", JOB_DATABASE_URL=role.render_as_string(hide_password=False))
    assert result.returncode != 0
    assert result.stderr.startswith("job: error: the database refused: ")
    assert 'role "locked_out" is not permitted to log in' in result.stderr
    assert result.stderr.count("\n") == 1
    assert SECRET not in result.stderr
