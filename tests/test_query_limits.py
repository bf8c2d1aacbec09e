"""A query ends at its time limit, at Ctrl-C and at its size limit, even in an uninterruptible call."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from db.backends import query_limits
from db.engine import parse_url
from db.errors import QueryStoppedError
from db.query import run_query
from db.store import Store
from tests.conftest import Job, job_command

DEAF = {
    "sqlite": "SELECT instr(hex(zeroblob(1000000)), hex(zeroblob(500000)) || '1')",
    "postgresql": "SELECT strpos(repeat('a', 200000), 'b' || repeat('a', 100000))",
}
"""one uninterruptible call that compares for many seconds"""
COUNT = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i{} FROM n"


@pytest.fixture
def url(database_url: str, backend: str) -> Iterator[str]:
    """A store; the test ends only when no server process works for it any more."""
    yield database_url
    if backend == "postgresql":
        active = "SELECT count(*) > 1 FROM pg_stat_activity WHERE datname = current_database()"
        with psycopg.connect(database_url, autocommit=True) as connection:
            wait_until(lambda: not (connection.execute(active).fetchone() or [True])[0])


def wait_until(condition) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def asking(url: str, sql: str, *words: object) -> subprocess.Popen[str]:
    """A command that waits for the answer: its second thread runs, and had time to begin."""
    command = job_command("query", "--sql", sql, "--timeout", 100, "--database-url", url, *words)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(list(Path(f"/proc/{process.pid}/task").iterdir())) > 1)
    time.sleep(2)
    return process


def test_a_call_that_hears_nothing_ends_at_the_limit(url: str, backend: str, job: Job) -> None:
    done = job("query", "--timeout", 1, "--sql", DEAF[backend], "--database-url", url, timeout=60)
    lives = r"; the server's process \d+ has not heeded the cancel and may run on"
    said = r"job: error: the query was stopped after 1 s; --timeout allows more"
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(said + (lives if backend == "postgresql" else "") + "\n", done.stderr)


@pytest.mark.process
def test_a_call_that_hears_nothing_ends_at_ctrl_c(url: str, backend: str) -> None:
    process = asking(url, DEAF[backend])
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert re.fullmatch(r"job: error: interrupted(; the server's process \d+ has .+)?\n", err)


@pytest.mark.process
def test_ctrl_c_is_no_timeout_and_the_server_stops_too(url: str, backend: str) -> None:
    process = asking(url, COUNT.format("9e15", "") + " WHERE i < 0")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "job: error: interrupted\n")
    assert process.returncode == 130


@pytest.mark.process
@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_ctrl_c_ends_a_command_whose_reader_stands_still(url: str, form: str) -> None:
    process = asking(url, COUNT.format(10**6, ""), "--limit", 0, "--format", form)
    assert process.stdout
    process.stdout.read(1)  # rows have arrived
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    err = process.communicate()[1]
    assert err.startswith("job: error: interrupted")  # a busy server may not have heeded it yet
    assert err.count("\n") == 1


def test_an_answer_has_a_budget(store: Store) -> None:
    query = COUNT.format(1000, "")
    assert len(run_query(store.url, query, max_bytes=1_000_000).rows) == 1000
    with pytest.raises(QueryStoppedError, match=r"takes more memory than --max-bytes 9999 allows; --limit"):
        run_query(store.url, query, max_bytes=9_999)


def test_one_value_counts_whole(store: Store, backend: str) -> None:
    large = "hex(zeroblob(500000))" if backend == "sqlite" else "repeat('a', 1000000)"
    with pytest.raises(QueryStoppedError):
        run_query(store.url, f"SELECT {large} AS a", max_bytes=900_000)
    assert run_query(store.url, f"SELECT length({large}) AS a", max_bytes=900_000).rows == [(1_000_000,)]


def test_rows_are_passed_on_as_they_arrive(store: Store) -> None:
    rows: list[tuple[object, ...]] = []
    found = run_query(store.url, COUNT.format(5000, ""), limit=4500, take=rows.extend)
    assert rows == [("i",), *((i,) for i in range(1, 4501))]
    assert (found.columns, found.rows, found.more) == ((), [], True)
    read: list[object] = []
    endless = COUNT.format(10**9, "")
    with pytest.raises(QueryStoppedError):
        run_query(store.url, endless, limit=None, max_bytes=10**6, take=read.extend)
    assert len(read) > (5000 if store.url.get_backend_name() == "sqlite" else -1)


def test_the_time_limit_is_for_the_whole_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count(step=60)  # each part takes a minute
    monkeypatch.setattr(query_limits, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    watch = query_limits.Watch(100, max_bytes=10**9)

    def answer() -> Generator[tuple[str], None, None]:
        for _ in range(2):
            yield ("a" * 2 * query_limits.PART_BYTES,)
        watch.over.wait(5)
        yield ("too late",)

    with pytest.raises(QueryStoppedError, match="the query was stopped after 100 s"):
        list(watch.rows(answer()))


LARGE = {
    "sqlite": {
        "row": "SELECT " + ", ".join(f"hex(zeroblob(8000000)) AS c{i}" for i in range(40)),
        "rows": COUNT.format(100, ", hex(zeroblob(8000000)) AS a"),
        "small": COUNT.format(100_000, ", hex(zeroblob(500)) AS a"),
    },
    "postgresql": {
        "row": "SELECT array_agg(i) FROM generate_series(1, 5000000) AS i",
        "bytes": "SELECT decode(repeat('00', 60000000), 'hex')",
        "rows": "SELECT repeat('a', 10000000) FROM generate_series(1, 20)",
        "small": COUNT.format(100_000, ", repeat('a', 1000) AS a"),
    },
}
"""answers that need up to 650 MB, if they are not stopped, and one of 100 MB in many rows"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("backend", "what", "form"),
    [
        *((backend, what, "csv") for backend, answers in LARGE.items() for what in answers),
        *((backend, "small", form) for backend in LARGE for form in ("table", "json")),
    ],
)
def test_an_answer_takes_twice_its_budget_of_memory_at_most(
    url: str, backend: str, what: str, form: str
) -> None:
    few = what != "small"
    budget = 50_000_000 if few else 200_000_000
    words = ("query", "--sql", LARGE[backend][what], "--limit", 0, "--format", form, "--max-bytes", budget)
    program = (
        "import resource, sys; from job.cli import run; status = run(sys.argv[1:])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)\n"
        "sys.exit(status)"
    )
    # The largest memory of a process is at least that of the one that it was forked from: a small shell.
    shell = ["sh", "-c", '"$@"; exit $?', "sh"]
    command = [*shell, sys.executable, "-c", program, *map(str, words), "--database-url", url]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=240)
    said, kilobytes = done.stderr.rpartition("\n")[0].rpartition("\n")[::2]
    error = f"job: error: the answer takes more memory than --max-bytes {budget} allows; "
    assert (done.returncode, said) == ((1, f"{error}--limit asks for fewer rows") if few else (0, ""))
    # A process that has done nothing takes 70 MB; the rest is twice the budget and 64 MB.
    assert int(kilobytes) < (240_000 if few else 90_000)


@pytest.mark.parametrize("backend", ["postgresql"])
def test_what_a_query_may_use_of_the_server_is_bounded(store: Store) -> None:
    settings = ("temp_file_limit", "client_connection_check_interval", "jit", "statement_timeout")
    asked = ", ".join(f"current_setting('{name}')" for name in settings)
    assert run_query(store.url, f"SELECT {asked}", timeout=20).rows == [("1GB", "1s", "off", "21s")]


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_server_stops_when_its_client_was_killed(database_url: str) -> None:
    process = asking(database_url, COUNT.format("9e15", ""), "--limit", 0, "--max-bytes", 10**15)
    process.kill()
    process.communicate()
    ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND datname = %s"
    of_it = ["epoch-ledger query", parse_url(database_url).database]
    with psycopg.connect(database_url, autocommit=True) as connection:
        begun = time.monotonic()
        wait_until(lambda: connection.execute(ours, of_it).fetchone() == (0,))
    assert time.monotonic() - begun < 60  # its own limit is 100 s


@pytest.mark.parametrize("backend", ["postgresql"])
def test_the_time_limit_counts_while_the_store_is_opened(store: Store, database_url: str, job: Job) -> None:
    with store.engine.begin() as other:
        other.exec_driver_sql("LOCK TABLE ledger_version IN ACCESS EXCLUSIVE MODE")
        words = ("--sql", "SELECT 1", "--timeout", 1, "--database-url", database_url)
        done = job("query", *words, timeout=50)  # it was a minute
    assert done.returncode == 1
    assert "the database did not answer" in done.stderr


@pytest.mark.parametrize("backend", ["postgresql"])
def test_options_of_the_url_are_passed_on(store: Store) -> None:
    url = store.url.update_query_dict({"options": "-c geqo=off"})
    assert run_query(url, "SELECT current_setting('geqo'), current_setting('timezone')").rows == [
        ("off", "UTC")
    ]
