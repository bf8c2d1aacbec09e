"""What a database URL may contain: known parameters, and passwords that are never shown."""

from __future__ import annotations

import re
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy.exc import OperationalError

from db.engine import create_store_engine, error_line, parse_url
from db.errors import StoreError
from db.query import run_query
from db.retry import RetryPolicy
from db.store import Store
from job.cli import run
from tests.conftest import job_command
from tests.proxy import Proxy
from tests.samples import write_csv

Output = pytest.CaptureFixture[str]

SECRET = "Sesam-7391"
HIDDEN = [
    f"postgresql://me:{SECRET}@127.0.0.1:1/x",
    f"postgres://me:{SECRET}@127.0.0.1:1/x?sslmode=disable",
    f"postgresql://me@127.0.0.1:1/x?password={SECRET}",
    f"postgresql:///x?host=127.0.0.1&port=1&user=me&password={SECRET}",
    f"postgresql://me:other@127.0.0.1:1/x?password={SECRET}",
    f"postgresql://me@127.0.0.1:1/x?sslpassword={SECRET}",
    f"postgresql://me@127.0.0.1:1/x?oauth_client_secret={SECRET}",
    f"postgresql://me:p@{SECRET}@127.0.0.1:1/x",
    f"postgresql://me:p@1/{SECRET}@127.0.0.1:1/x",
    f"postgresql://me:p@1?{SECRET}=1@127.0.0.1:1/x",
    f"postgresql://127.0.0.1:1/x?password=p@{SECRET}",
    f"postgresql://127.0.0.1:1/x?password=p&{SECRET}",
    f"postgresql://127.0.0.1:1/x?passwort={SECRET}",
    f"postgresql://me:{SECRET}@127.0.0.1:port/x",
    f"postgresql://me:{SECRET}%00@127.0.0.1:1/x",
    f"postgresql+nodriver://me:{SECRET}@127.0.0.1:1/x",
    f"mysql://me:{SECRET}@127.0.0.1:1/x",
    f"sqlite://me:{SECRET}@/x.db",
    f"postgresql://me:{SECRET}@[127.0.0.1:1/x",
    f"nothing:{SECRET}",
]
COMMANDS = [
    ("runs",),
    ("train", "--epochs", "1", "--data", "made.csv", "--database-timeout", "0"),
    ("resume", "1", "--database-timeout", "0"),
    ("nightly", "--once", "--epochs", "1", "--data", "made.csv", "--database-timeout", "0"),
    ("db", "backup", "copy.db"),
    ("db", "current"),
    ("query", "losses"),
    ("query", "--list"),
    ("sweep", "--seeds", "0", "--database-timeout", "0"),
]


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No command waits for an unreachable database."""
    monkeypatch.setattr(RetryPolicy, "limit", property(lambda _: 0.0, lambda _, value: None), raising=False)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("url", HIDDEN)
def test_no_command_shows_a_password(url: str, capfd: Output, tmp_path: Path) -> None:
    write_csv(tmp_path / "made.csv")
    for command in COMMANDS:
        status = run([*command, "--debug", "--database-url", url])
        said = "".join(capfd.readouterr())
        assert SECRET not in said, command
        assert "job: error: " in said or (status, command[-1]) == (0, "--list")


@pytest.mark.parametrize(
    "url", ["postgresql://x%2Fy:x%2Fz@h/d", "postgresql://h/d?user=x%2Fy&password=x%2Fz"]
)
def test_both_places_of_a_password_are_used(url: str) -> None:
    assert parse_url(url).password == "x/z"


def test_the_last_of_two_passwords_in_a_url_counts_as_for_libpq() -> None:
    assert parse_url("postgresql://h/d?password=one&password=other").password == "other"


@pytest.mark.parametrize("name", ["password", "sslpassword", "oauth_client_secret"])
def test_no_secret_that_a_driver_repeats_is_in_the_line_about_its_error(name: str) -> None:
    url = parse_url(f"postgresql://me@h/d?{name}={SECRET}")
    error = OperationalError("SELECT 1", None, Exception(f"cannot use {SECRET}"))
    assert error_line(error, url).startswith("cannot use *** (postgresql://")


@pytest.mark.parametrize("backend", ["postgresql"])
@pytest.mark.parametrize(
    "words", [("train",), ("nightly", "--run-now"), ("sweep", "--seeds", "0:2", "--workers", 1)]
)
def test_a_password_is_neither_stored_nor_an_argument_of_a_child(
    words: tuple[object, ...], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JOB_NO_MIRROR")
    url = f"{database_url}&password={SECRET}"
    command = job_command(*words, "--epochs", 100_000, "--database-url", url)
    monkeypatch.setenv("FAMILY", family := uuid4().hex)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    children: set[str] = set()
    with Store(database_url) as store:
        deadline = time.monotonic() + 100
        while not (children and store.runs() and store.progress(store.run().id)):
            assert time.monotonic() < deadline
            assert process.poll() is None
            children |= arguments_of_children(process.pid, family)
            time.sleep(0.05)
        children |= arguments_of_children(process.pid, family)
        process.terminate()
        said = process.communicate(timeout=100)[1]
        with store.engine.connect() as connection:
            for table in ("datasets", "features", "runs", "verdicts", "scheduled_runs"):
                said += str(connection.exec_driver_sql(f"SELECT t::text FROM {table} t").all())
    assert SECRET not in said
    assert SECRET not in str(children)


def arguments_of_children(parent: int, family: str) -> set[str]:
    """The command lines of the processes with `family` in their environment, except `parent`.

    A child that has only been forked still has its parent's.
    """
    found = set()
    own = Path(f"/proc/{parent}/cmdline").read_text()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if folder.name != str(parent) and family in (folder / "environ").read_text(errors="replace"):
                found.add((folder / "cmdline").read_text())
    return found - {own}


def test_known_parameters_are_passed_on(tmp_path: Path, postgresql_server: str) -> None:
    with Store(f"sqlite:///{tmp_path / 'ledger.db'}?timeout=7&cached_statements=9", create=True) as store:
        assert store.url.query == {"timeout": "7", "cached_statements": "9"}
    url = parse_url(f"{postgresql_server}&options=-c%20geqo%3Doff&sslmode=prefer&passfile=/nowhere")
    engine = create_store_engine(url)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW geqo").scalar() == "off"
    engine.dispose()


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_parameter_of_the_url_wins_over_our_setting(database_url: str) -> None:
    chosen = (
        "application_name=mine&connect_timeout=77&keepalives_idle=33&keepalives_count=9&tcp_user_timeout=5000"
    )
    asked = "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    with Store(f"{database_url}&{chosen}&client_encoding=latin1") as store:
        with store.engine.connect() as connection:
            assert connection.connection.driver_connection is not None
            known = connection.connection.driver_connection.info.get_parameters()
            assert connection.exec_driver_sql(asked).scalar() == "mine"
        assert run_query(store.url, asked).rows == [("mine",)]
    expected = dict(pair.split("=") for pair in chosen.split("&")) | {"keepalives_interval": "5"}
    assert {name: known[name] for name in expected} == expected
    assert known["client_encoding"] == "utf8"  # names of any language are stored


def test_a_busy_timeout_of_the_url_wins_over_ours(sqlite_url: str) -> None:
    Store(sqlite_url, create=True).close()
    with Store(f"{sqlite_url}?timeout=0.25") as store, store.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 250


@pytest.mark.parametrize("backend", ["postgresql"])
@pytest.mark.parametrize("bad", ["connect_timeout=abc", "keepalives_idle=abc", "sslmode=abc"])
def test_a_value_that_postgresql_refuses_is_not_waited_for(bad: str, database_url: str) -> None:
    lines: list[str] = []
    with Proxy(database_url) as between, pytest.raises(StoreError, match=bad.partition("=")[0]):
        Store(f"{between.url}?{bad}", database_timeout=60, log_line=lines.append)
    assert lines == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:///q?.db", "unknown parameter '.db'; a file's name cannot have a ?"),
        ("sqlite:///q.db?timeout=1&tiemout=2", "unknown parameter 'tiemout'"),
        ("sqlite:///q.db?timeout", None),
        ("sqlite:///q?", "has a ? without a parameter"),
        ("sqlite:///q?&", "has a ? without a parameter"),
        ("sqlite:///file:q.db?uri=true", "names a URI"),
        ("sqlite:///q.db?mode=ro", "unknown parameter 'mode'"),
        ("sqlite:///q.db?timeout=abc", "parameter timeout is 'abc', not a number"),
        ("postgresql://me@h/d?sslmod=require", "parameter 1 is unknown to PostgreSQL"),
        ("postgresql://h/d?sslmode=require&nonsense", "parameter 2 is unknown to PostgreSQL"),
        ("postgresql://me:a@b@h/d", "two @"),
    ],
)
def test_unknown_parameters_are_refused(url: str, said: str | None, tmp_path: Path) -> None:
    if said is None:
        parse_url(url)
        return
    with pytest.raises(StoreError, match=re.escape(said)):
        Store(url, create=True)
    assert list(tmp_path.iterdir()) == []
