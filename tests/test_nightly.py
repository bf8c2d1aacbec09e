"""`job nightly --once` and `job nights`: the same bits as last time, or what differs and why."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from db import scheduled_runs
from db.store import Store
from job.cli import run
from tests.conftest import Job, job_command
from tests.samples import write_csv
from tests.trainers import start_and_wait

Output = pytest.CaptureFixture[str]
OTHER_KERNEL = {"JOB_PIN_NUMERICS": "0", "OPENBLAS_CORETYPE": "Sandybridge"}
"""OpenBLAS's kernel for CPUs with AVX but without AVX2, which all CPUs for the pinned one can run"""


def scheduled_run(url: str, *options: object, epochs: int = 30) -> int:
    """One scheduled run in this process, on the housing table."""
    return run(["nightly", "--once", "--database-url", url, "--epochs", str(epochs), *map(str, options)])


def test_the_first_night_has_nothing_to_be_compared_with(database_url: str, capsys: Output) -> None:
    assert scheduled_run(database_url) == 0
    said = capsys.readouterr()
    assert said.out.startswith("run 1 completed after ")
    assert "drift: not judged: this is the first scheduled run of its specification\n" in said.out
    assert said.err == ""


def test_a_night_with_the_bits_of_the_last_one_passes(database_url: str, capsys: Output) -> None:
    for _ in range(2):
        assert scheduled_run(database_url) == 0
    assert "drift: passed: against run 1: paddle: the same bits on all 30 epochs;" in capsys.readouterr().out
    with Store(database_url) as store:
        verdict = store.verdicts(2)[-1]
        assert (verdict.kind, verdict.against_run_id, verdict.passed) == ("drift", 1, True)
        assert store.run(2).trigger == "nightly"


@pytest.mark.slow
def test_another_kernel_is_reported_with_its_first_epoch_its_gap_and_itself(
    job: Job, sqlite_url: str
) -> None:
    options = ("nightly", "--once", "--epochs", 300, "--database-url", sqlite_url)
    assert job(*options).returncode == 0
    found = job(*options, **OTHER_KERNEL)
    assert found.returncode == 1
    with Store(sqlite_url) as store:
        verdict = store.verdicts(2)[-1]
        before, after = store.history(1, "python"), store.history(2, "python")
    differing = [i for i in range(300) if not before[i : i + 1].same_bits(after[i : i + 1])]
    gaps = [
        abs(before.train_loss - after.train_loss.astype(float)).max(),
        abs(before.test_loss - after.test_loss.astype(float)).max(),
        abs(before.parameters - after.parameters.astype(float)).max(),
    ]
    assert (verdict.kind, verdict.passed) == ("drift", False)
    assert verdict.first_epoch == differing[0]
    assert verdict.worst == max(gaps)
    assert "blas openblas kernel Sandybridge, was Haswell" in verdict.detail
    assert "drift: FAILED: against run 1\nRun 2 against run 1; " in found.stdout
    assert re.search(r"^blas openblas kernel +Haswell +Sandybridge$", found.stdout, re.MULTILINE)
    assert "job: scheduled run 2 failed; see `job show 2`" in found.stderr
    assert job(*options, "--fail-on", "parity", **OTHER_KERNEL).returncode == 0
    assert job(*options, "--fail-on", "never").returncode == 0


@pytest.mark.slow
def test_another_specification_is_no_drift(sqlite_url: str, tmp_path: Path, capsys: Output) -> None:
    assert scheduled_run(sqlite_url) == 0
    other = write_csv(tmp_path / "other.csv")
    for options in (("--seed", 1), ("--learning-rate", 0.02), ("--data", other)):
        assert scheduled_run(sqlite_url, *options) == 0
    assert scheduled_run(sqlite_url, epochs=31) == 0
    assert capsys.readouterr().out.count("drift: not judged") == 5


def test_a_diverging_night_fails(sqlite_url: str, capsys: Output) -> None:
    assert scheduled_run(sqlite_url, "--learning-rate", 1e30) == 1
    said = capsys.readouterr()
    assert "run 1 diverged: not finite any more" in said.out
    assert "job: scheduled run 1 failed" in said.err


@pytest.mark.slow
def test_a_second_night_is_refused_and_on_record_as_skipped(database_url: str, capsys: Output) -> None:
    first = subprocess.Popen(
        job_command("nightly", "--once", "--database-url", database_url, "--epochs", 2_000_000)
    )
    try:
        with Store(database_url, create=True) as store:
            while not (store.runs() and store.progress(store.run().id)):
                assert first.poll() is None
            assert scheduled_run(database_url) == 2
            assert "job: error: one nightly run at a time: run 1 is being trained" in capsys.readouterr().err
            assert [each.outcome for each in scheduled_runs.newest(store)] == ["skipped", "running"]
    finally:
        first.terminate()
    assert first.wait(30) == 128 + signal.SIGTERM
    with Store(database_url) as store:
        assert [each.outcome for each in scheduled_runs.newest(store)] == ["skipped", "interrupted"]


@pytest.mark.slow
def test_a_killed_night_does_not_block_the_next(sqlite_url: str) -> None:
    first = start_and_wait(sqlite_url, 2_000_000, command=("nightly", "--once"))
    first.kill()
    first.communicate()
    assert scheduled_run(sqlite_url) == 0
    with Store(sqlite_url) as store:
        assert [each.outcome for each in scheduled_runs.newest(store)] == ["completed", "crashed"]


@pytest.mark.slow
def test_a_resumed_night_gets_its_verdict_too(sqlite_url: str) -> None:
    assert scheduled_run(sqlite_url, epochs=3000) == 0
    first = start_and_wait(sqlite_url, 3000, command=("nightly", "--once"))
    first.terminate()
    first.communicate()
    with Store(sqlite_url) as store:
        if store.run(2).status == "interrupted":
            assert run(["resume", "2", "--database-url", sqlite_url]) == 0
        assert [verdict.kind for verdict in store.verdicts(2)] == [
            "integrity",
            "parity",
            "exact",
            "exact",
            "drift",
        ]
        assert store.verdicts(2)[-1].passed


def test_data_that_is_gone_overnight_is_a_night_that_failed(sqlite_url: str, capsys: Output) -> None:
    assert scheduled_run(sqlite_url, "--data", "gone.csv") == 2
    assert "job: error: gone.csv" in capsys.readouterr().err
    with Store(sqlite_url) as store:
        (found,) = scheduled_runs.newest(store)
        assert found.outcome == "failed"
        assert (found.row.detail or "").startswith("gone.csv")


@pytest.mark.slow
def test_json_lines_tell_of_the_run_and_how_long_it_took(job: Job, sqlite_url: str) -> None:
    options = ("--epochs", 20, "--log-format", "json", "--database-url", sqlite_url)
    done = job("nightly", "--once", *options)
    events = {line["event"]: line for line in map(json.loads, done.stderr.splitlines())}
    assert {"run_begins", "progress", "run_ends", "verdict", "first_night"} <= events.keys()
    assert done.stdout == ""
    assert events["run_ends"]["run"] == 1
    assert events["run_ends"]["status"] == "completed"
    assert events["run_ends"]["seconds"] > 0
    assert datetime.fromisoformat(events["run_ends"]["time"]).tzinfo is not None
    refused = job("train", "--data", "gone.csv", *options)
    assert refused.returncode == 2
    assert json.loads(refused.stderr)["event"] == "error"


def listed(url: str, capsys: Output, *options: str) -> str:
    capsys.readouterr()
    run(["nights", "--database-url", url, *options])
    return capsys.readouterr().out


def test_nights_are_listed(sqlite_url: str, capsys: Output) -> None:
    scheduled_run(sqlite_url)
    scheduled_run(sqlite_url)
    with Store(sqlite_url) as store:
        row = scheduled_runs.add_due(store, "0 2 * * * UTC", datetime.now(UTC) - timedelta(days=3))
        scheduled_runs.settle(store, row.id, "missed", "off")
    table = listed(sqlite_url, capsys)
    assert re.search(r"completed +2  [0-9a-f]{12}  1 ", table)
    assert "missed" in table
    records = json.loads(listed(sqlite_url, capsys, "--json"))
    assert [record["outcome"] for record in records] == ["completed", "completed", "missed"]
    assert records[0]["drift"]["passed"]
    assert records[0]["seconds"] > 0


def test_a_store_without_nights_says_so(sqlite_url: str, capsys: Output) -> None:
    assert "there is no store at" in listed(sqlite_url, capsys)
    Store(sqlite_url, create=True).close()
    assert listed(sqlite_url, capsys) == "no scheduled runs yet; `job nightly` starts them\n"


def check(url: str) -> int:
    return run(["nights", "--check", "--database-url", url])


def test_the_health_check_fails_while_a_night_was_missed(sqlite_url: str, capsys: Output) -> None:
    assert check(sqlite_url) == 2
    assert scheduled_run(sqlite_url) == 0
    assert check(sqlite_url) == 1
    assert "no scheduled run is planned" in capsys.readouterr().out
    now = datetime.now(UTC)
    with Store(sqlite_url) as store:
        scheduled_runs.add_due(store, "x", now + timedelta(hours=1))
        assert check(sqlite_url) == 0
        late = scheduled_runs.add_due(store, "x", now - timedelta(minutes=20))
        assert check(sqlite_url) == 1
        assert "and has not begun" in capsys.readouterr().out
        scheduled_runs.settle(store, late.id, "skipped", "why not")
        assert check(sqlite_url) == 0
        missed = scheduled_runs.add_due(store, "x", now + timedelta(minutes=1))
        scheduled_runs.settle(store, missed.id, "missed", "off")
        assert check(sqlite_url) == 1
        assert "was missed: off" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--cron", "0 2 * *"], "needs five"),
        (["--timezone", "Mars/Olympus"], "is no time zone"),
        (["--data", "gone.csv"], "gone.csv"),
        (["--fail-on", "rain"], "'rain' is not one of"),
    ],
)
def test_bad_settings_are_refused_when_the_scheduler_starts(
    options: list[str], complaint: str, sqlite_url: str, capsys: Output
) -> None:
    assert run(["nightly", "--database-url", sqlite_url, *options]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1
