"""A PostgreSQL that hangs, rather than going away: no wait outlasts the timeout or delays a signal."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from db.epochs import insert_epochs
from db.errors import StoreFailedError
from db.store import Store
from tests.conftest import job_command
from tests.proxy import Proxy
from tests.samples import dataset_row, history
from tests.trainers import start_and_wait

pytestmark = pytest.mark.slow

LIMIT = 3
"""seconds of --database-timeout"""
SOON = 15
"""seconds allowed on a loaded machine for what is promised within two; without a heeded signal it takes 60"""
WAYS = pytest.mark.parametrize("way", ["frozen", "swallow"])


@pytest.fixture
def backend() -> str:
    return "postgresql"


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    with Proxy(database_url) as between:
        yield between


def start(store: Store) -> int:
    return store.start_run(dataset_row(), epochs=9, learning_rate=0.1, seed=0, environment={}).run_id


def ended(work: Callable[[], object]) -> tuple[str, float]:
    """The error of `work`, and the seconds until it."""
    started = time.monotonic()
    with pytest.raises(StoreFailedError) as failed:
        work()
    return str(failed.value), time.monotonic() - started


@WAYS
def test_a_trainer_gives_up_at_its_timeout_and_can_be_resumed(
    way: str, database_url: str, proxy: Proxy
) -> None:
    trainer = start_and_wait(proxy.url, 1_000_000, "--database-timeout", str(LIMIT))
    proxy.mode = way
    started = time.monotonic()
    _, err = trainer.communicate(timeout=120)
    assert time.monotonic() - started < LIMIT + SOON
    assert trainer.returncode == 1, err
    assert f"job: error: the database did not answer within {LIMIT} s: no answer for {LIMIT} s" in err
    assert "go on with: job resume 1" in err
    with Store(database_url) as store:
        stored = store.progress(1)
        store.resume_run(1, environment={}).append("paddle", history(1, 13, stored["paddle"]))


@WAYS
@pytest.mark.parametrize("mirror", ["0", "1"])
def test_a_signal_ends_a_trainer_whose_database_hangs(
    way: str, mirror: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOB_NO_MIRROR", "1" if mirror == "0" else "0")
    trainer = start_and_wait(proxy.url, 1_000_000)
    proxy.mode = way
    time.sleep(1.5)  # now it waits for an answer
    trainer.send_signal(signal.SIGTERM)
    started = time.monotonic()
    _, err = trainer.communicate(timeout=120)  # until the mirror has ended, too, which shares it
    assert time.monotonic() - started < SOON
    assert trainer.returncode == 143, err
    assert "go on with: job resume 1" in err
    assert "Traceback" not in err


def test_a_server_that_answers_again_costs_time_and_nothing_else(
    database_url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.retry.LONG", 1.0)
    lines: list[str] = []
    with Store(proxy.url, log_line=lines.append) as store:
        proxy.mode = "frozen"
        threading.Timer(3, setattr, (proxy, "mode", "forward")).start()
        assert start(store) == 1
        assert [store.run(1).id, len(store.runs())] == [1, 1]
    assert [line.split(" for the database")[0].split(" after")[0] for line in lines] == [
        "waiting up to 600 s",
        "the database is back",
    ]


WORK: dict[str, Callable[[Store], object]] = {
    "read": lambda store: store.runs(),
    "write": start,
    "copy": lambda store: store.write(
        lambda session, _: insert_epochs(session.connection(), 1, "paddle", history(20_000, 13))
    ),
    "crashes": lambda store: store.mark_crashed(),
}


@WAYS
@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_every_kind_of_work_ends_at_the_timeout(
    way: str, work: Callable[[Store], object], proxy: Proxy
) -> None:
    with Store(proxy.url, database_timeout=LIMIT) as store:
        start(store)
        proxy.mode = way
        message, seconds = ended(lambda: work(store))
    assert f"did not answer within {LIMIT} s: no answer" in message
    assert seconds < LIMIT + SOON


@WAYS
@pytest.mark.parametrize("moment", ["statement", "commit", "copy"])
def test_an_answer_that_is_lost_in_mid_transaction_is_no_endless_wait(
    way: str, moment: str, proxy: Proxy
) -> None:
    with Store(proxy.url, database_timeout=LIMIT) as store:
        start(store)

        def work(session: object, _: int) -> None:
            session.execute(text("SELECT 1"))  # type: ignore[attr-defined]
            proxy.mode = way
            if moment == "statement":
                session.execute(text("SELECT 2"))  # type: ignore[attr-defined]
            if moment == "copy":
                WORK["copy"](store)

        message, seconds = ended(lambda: store.write(work))
    assert "no answer for" in message
    assert seconds < LIMIT + SOON


def test_an_attempt_after_the_first_has_only_the_time_that_is_left(proxy: Proxy) -> None:
    with Store(proxy.url, database_timeout=LIMIT) as store:

        def work(session: object, attempt: int) -> None:
            if attempt == 1:
                session.connection().connection.driver_connection.close()  # type: ignore[attr-defined]
            else:
                time.sleep(0.5)
                proxy.mode = "frozen"
            session.execute(text("SELECT 1"))  # type: ignore[attr-defined]

        _, seconds = ended(lambda: store.write(work))
    assert seconds < LIMIT + SOON


@WAYS
def test_a_stop_ends_what_waits_for_an_answer(way: str, proxy: Proxy) -> None:
    stop = threading.Event()
    with Store(proxy.url, stop=stop) as store:
        proxy.mode = way
        threading.Timer(0.5, stop.set).start()
        _, first = ended(store.runs)
        _, second = ended(store.runs)  # connects
    assert first < SOON
    assert second < SOON


def test_a_server_that_takes_its_time_is_heard_out(proxy: Proxy) -> None:
    stop = threading.Event()
    stop.set()
    with Store(proxy.url, database_timeout=1.5, stop=stop) as store:
        assert store.read(lambda session: session.scalar(text("SELECT 7 FROM pg_sleep(0.5)"))) == 7
    rows = "SELECT count(*) FROM (SELECT pg_sleep(0.3), i FROM generate_series(1, 10) i) x"
    with Store(proxy.url, database_timeout=60) as store:
        assert store.read(lambda session: session.scalar(text(rows))) == 10


@contextmanager
def hanging(proxy: Proxy, commands: Sequence[str]) -> Iterator[list[subprocess.Popen[str]]]:
    """The commands, all waiting for an answer that none of them gives up by itself within a minute."""
    url = f"{proxy.url}?connect_timeout=60"
    started = [
        subprocess.Popen(
            job_command(*command.split(), "--database-url", url),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    try:
        deadline = time.monotonic() + 120
        while len(proxy.hung) < len(commands):
            assert time.monotonic() < deadline
            assert [each.args for each in started if each.poll() is not None] == []
            time.sleep(0.05)
        time.sleep(0.2)
        yield started
    finally:
        for each in started:
            each.kill()
            each.communicate()


def end_soon(started: Sequence[subprocess.Popen[str]], number: signal.Signals) -> None:
    """Send each process the signal, and check that it ends by it."""
    for each in started:
        each.send_signal(number)
    sent = time.monotonic()
    for each in started:
        _, err = each.communicate(timeout=120)
        assert time.monotonic() - sent < SOON, each.args
        assert "Traceback" not in err
        assert each.returncode in (128 + number, -number), err


BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
WAITING = "--database-timeout 60"
COMMANDS = (
    *(
        "runs",
        "show 1",
        "verify 1",
        "compare 1 1",
        "nights",
        "prune --keep-nights 1",
        "query losses --timeout 60",
    ),
    *("export 1 -o e.csv", "report 1", "plot 1", "mirror 1", "dashboard --port 0", "step 1 0", "audit 1"),
    *("bisect 1 2", "baseline show", "baseline set 1 --reason why", "db unarchive 1"),
    *(f"train {WAITING}", f"resume 1 {WAITING}", f"nightly --once {WAITING}"),
)


@BOTH
@pytest.mark.parametrize("moment", ["", "FROM (runs|sch|base)|INSERT"], ids=["opening", "working"])
def test_a_signal_ends_every_command_that_waits_for_a_server(
    moment: str, number: signal.Signals, database_url: str, proxy: Proxy
) -> None:
    with Store(database_url) as store:
        start(store)
    proxy.hangs_at = re.compile(moment.encode())
    opening = () if moment else ("db upgrade", "db check", f"sweep {WAITING}")
    with hanging(proxy, COMMANDS + opening) as started:
        end_soon(started, number)


@BOTH
def test_a_signal_ends_a_sweep_whose_workers_wait_for_a_server(number: signal.Signals, proxy: Proxy) -> None:
    proxy.hangs_at = re.compile(b"COPY")  # epochs
    with hanging(proxy, [f"sweep --workers 1 {WAITING}"]) as started:
        end_soon(started, number)


def test_a_connection_notices_a_network_that_drops_its_packets(proxy: Proxy) -> None:
    with Store(proxy.url) as store, store.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        with socket.socket(fileno=socket.dup(driver.fileno())) as link:
            options = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
            found = [link.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in options]
            assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert found == [10, 5, 4, 30_000]
