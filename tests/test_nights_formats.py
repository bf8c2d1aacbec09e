"""Scheduled runs for other programs: Prometheus, JUnit's readers, and GitHub's summary."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

from db import scheduled_runs
from db.schema import ScheduledRunRow, VerdictRow
from db.store import Store
from job.cli import run
from job.verdicts.baseline import set_baseline
from tests.samples import execute
from tests.series import FIRST, judged, night, trained

Output = pytest.CaptureFixture[str]


@pytest.fixture
def store(migrated_url: str) -> Iterator[Store]:
    with Store(migrated_url) as opened:
        yield opened


def metrics(text: str, read: object = parser) -> dict[tuple[str, str], float]:
    """The value of each metric by its name and the label that tells it from its siblings."""
    own = ("result", "kind", "epoch_ledger_run_status")
    return {
        (sample.name, next((sample.labels[name] for name in own if name in sample.labels), "")): sample.value
        for family in read.text_string_to_metric_families(text)  # type: ignore[attr-defined]
        for sample in family.samples
    }


def test_metrics_are_about_the_last_run_that_ended(store: Store, migrated_url: str, tmp_path: Path) -> None:
    for bits in (0, 0, 1):
        judged(store, night(store, bits))
    execute(store, "UPDATE runs SET finished_at = '2026-03-03 02:00:04.000' WHERE id = 3")
    night(store, status="failed")
    execute(store, "UPDATE runs SET status = 'running' WHERE id = 4")
    path = tmp_path / "ledger.prom"
    words = ["--metrics-file", str(path), "--limit", "1"]  # which is not for the metrics
    assert run(["nights", *words, "--database-url", migrated_url]) == 0
    found = metrics(path.read_text())
    assert (
        found["epoch_ledger_run_end_timestamp_seconds", ""]
        == (FIRST + timedelta(days=2, seconds=4)).timestamp()
    )
    assert found["epoch_ledger_run_duration_seconds", ""] == 4
    assert found["epoch_ledger_run_epochs_per_second", ""] == 2.5  # 5 of each of two models
    assert found["epoch_ledger_run_status", "completed"] == 1
    assert found["epoch_ledger_run_status", "failed"] == 0
    assert found["epoch_ledger_verdict_passed", "drift"] == 0
    drift = store.verdicts(3)[-1].worst
    assert found["epoch_ledger_verdict_largest_gap", "drift"] == pytest.approx(drift)
    due = "epoch_ledger_scheduled_run_due_timestamp_seconds"
    days = {
        result: (value - FIRST.timestamp()) / 86400 for (name, result), value in found.items() if name == due
    }
    assert days == {"passed": 1, "drifted": 2, "due": 3}
    counted = {result: value for (name, result), value in found.items() if name.endswith("scheduled_runs")}
    assert counted == {"passed": 2, "drifted": 1, "due": 1, "failed": 0, "missed": 0, "skipped": 0}


def test_each_specification_has_its_own_metrics(store: Store, migrated_url: str, capsys: Output) -> None:
    night(store)
    night(store, seed=7)
    assert run(["nights", "--format", "openmetrics", "--database-url", migrated_url]) == 0
    text = capsys.readouterr().out
    families = openmetrics.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    seeds = [
        sample.labels["seed"]
        for family in families
        for sample in family.samples
        if sample.name == "epoch_ledger_run_duration_seconds"
    ]
    assert sorted(seeds) == ["0", "7"]
    assert (
        'epoch_ledger_run_duration_seconds{data="made.csv",epochs="5",learning_rate="0.1",'
        'models="paddle,python",seed="7",target="y"}'
    ) in text
    assert text.endswith("# EOF\n")


def test_of_specifications_with_the_same_labels_the_newest_run_counts(
    store: Store, migrated_url: str, capsys: Output
) -> None:
    night(store)
    execute(store, "UPDATE models SET source_sha256 = 'before' WHERE run_id = 1")
    night(store, status="failed")
    assert run(["nights", "--format", "openmetrics", "--database-url", migrated_url]) == 0
    found = metrics(capsys.readouterr().out, openmetrics)
    assert found["epoch_ledger_run_status", "failed"] == 1
    assert found["epoch_ledger_run_status", "completed"] == 0


def test_what_is_accepted_or_compared_later_fails_no_case(
    store: Store, migrated_url: str, tmp_path: Path
) -> None:
    first = night(store)
    set_baseline(store, trained(store, 1), "accepted before it came", "alice")
    judged(store, night(store, 1))
    judged(store, night(store, 1))
    assert run(["compare", "4", str(first.id), "--database-url", migrated_url]) == 1
    path = tmp_path / "ledger.xml"
    words = ["--junit", str(path), "--metrics-file", str(tmp_path / "ledger.prom")]
    assert run(["nights", *words, "--database-url", migrated_url]) == 0
    found = metrics((tmp_path / "ledger.prom").read_text())
    assert found["epoch_ledger_verdict_passed", "drift"] == 1
    assert found["epoch_ledger_verdict_largest_gap", "drift"] == 0
    suites = ElementTree.fromstring(path.read_bytes())
    assert [(suite.get("failures"), suite.get("skipped")) for suite in suites] == [
        ("0", "0"),
        ("0", "1"),
        ("0", "0"),
    ]
    (accepted,) = suites.findall("testsuite/testcase/skipped")
    assert str(accepted.get("message")).startswith("accepted: against run 1: ")


def test_an_empty_store_has_metrics(store: Store, migrated_url: str, capsys: Output) -> None:
    assert run(["nights", "--format", "openmetrics", "--database-url", migrated_url]) == 0
    assert set(metrics(capsys.readouterr().out, openmetrics).values()) == {0.0}


def test_junit_has_a_suite_for_each_run_and_a_case_for_each_verdict(
    store: Store, migrated_url: str, tmp_path: Path
) -> None:
    for bits in (0, 1):
        judged(store, night(store, bits))
    execute(store, "UPDATE runs SET finished_at = '2026-03-02 02:00:04.500' WHERE id = 2")
    verdict = VerdictRow(run_id=2, kind="parity", passed=True, tolerance=0.0, detail="", model="python")
    store.add_verdict(verdict)
    night(store, status="interrupted")
    execute(store, "UPDATE runs SET stop_reason = 'stopped by <SIGTERM>' WHERE id = 3")
    night(store, status="failed")
    missed, _ = (
        scheduled_runs.add_unscheduled(
            store, ScheduledRunRow(due_at=FIRST + timedelta(days=days), status="due")
        )
        for days in (4, 5)
    )
    scheduled_runs.settle(store, missed.id, "missed", "off")
    path = tmp_path / "ledger.xml"
    assert run(["nights", "--junit", str(path), "--limit", "5", "--database-url", migrated_url]) == 0
    gone, failed, stopped, drifted = ElementTree.fromstring(path.read_bytes())  # of what is due, nothing
    for suite, message in ((gone, "missed: off"), (failed, "failed")):
        assert [each.get("message") for each in suite.findall("testcase/failure")] == [message]
        assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("1", "1", "0")
    assert [case.get("name") for case in drifted] == ["run", "drift", "parity python"]
    assert [drifted.get(name) for name in ("timestamp", "time")] == ["2026-03-02T02:00:00", "4.500"]
    assert [case.get("time") for case in drifted] == ["4.500", "0", "0"]
    (failure,) = drifted.findall("testcase/failure")
    assert str(failure.get("message")).startswith("against run 1: ")
    assert (drifted.get("tests"), drifted.get("failures"), drifted.get("skipped")) == ("3", "1", "0")
    (skipped,) = stopped.findall("testcase/skipped")
    assert skipped.get("message") == "interrupted: stopped by <SIGTERM>"


def test_the_summary_is_added_to_githubs_file(
    store: Store, migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    night(store)
    judged(store, night(store))
    row = scheduled_runs.newest(store)[0].row
    judged(store, night(store, 1))
    set_baseline(store, store.run(1), "why", "alice")
    judged(store, night(store, 1))
    night(store, status="failed")
    execute(store, "UPDATE runs SET stop_reason = 'a | b' WHERE id = 5")
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    assert run(["nights", "--github-summary", "--limit", "4", "--database-url", migrated_url]) == 0
    before, heading, *lines = path.read_text().splitlines()
    assert (before, heading) == ("before", "### Scheduled runs")
    assert lines[1].startswith("unchanged since 2026-03-03 (run 3); 2 of 5 passed; ")
    line, failed, unlike, drifted, passed = lines[-5:]
    assert line == "|---|---|---|---|"
    assert "| drifted | 3 | against run 2: paddle: first differing epoch 0" in drifted
    assert "| drifted | 4 | differs since run 3 of 2026-03-03; against run 1: paddle: " in unlike
    assert failed.endswith("| failed | 5 | a \\| b |")
    assert passed == f"| {row.due_at:%Y-%m-%d %H:%M}Z | passed | 2 |  |"
    assert capsys.readouterr().out == f"{path}\n"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--github-summary"], "needs GITHUB_STEP_SUMMARY"),
        (["--check", "--junit", "x.xml"], "--check has no other output"),
        (["--check", "--format", "openmetrics"], "--check has no other output"),
        (["--report", "no/such\0/file"], "null"),
    ],
)
def test_wrong_use_is_refused(
    migrated_url: str, options: list[str], why: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    assert run(["nights", *options, "--database-url", migrated_url]) == 2
    assert why in capsys.readouterr().err


def test_without_a_store_no_file_is_written(tmp_path: Path, capsys: Output) -> None:
    path, missing = tmp_path / "a.prom", f"sqlite:///{tmp_path}/none.db"
    assert run(["nights", "--metrics-file", str(path), "--database-url", missing]) == 2
    assert not path.exists()
    assert run(["nights", "--format", "openmetrics", "--database-url", missing]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("none.db") == 2
