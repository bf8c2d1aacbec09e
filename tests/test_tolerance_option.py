"""`--tolerance` and JOB_TOLERANCE set the tolerance of parity in every command that judges it."""

from __future__ import annotations

import numpy as np
import pytest

from db.schema import VerdictRow
from db.store import Store
from job.cli import run
from tests.samples import dataset_row, history
from tests.trainers import start_and_wait

Output = pytest.CaptureFixture[str]

COMMANDS = {
    "train": ("train", "--epochs", "20"),
    "resume": ("resume", "1", "--epochs", "30"),
    "verify": ("verify", "1"),
    "nightly": ("nightly", "--once", "--epochs", "20"),
    "sweep": ("sweep", "--workers", "1", "--seeds", "0:1", "--epochs", "20"),
}


def judged(url: str) -> tuple[bool, float]:
    """Whether the newest run's newest parity verdict passed, and its tolerance."""
    with Store(url) as store:
        verdict = [v for v in store.verdicts(store.run().id) if v.kind == "parity"][-1]
        return verdict.passed, verdict.tolerance


@pytest.mark.parametrize("command", [*list(COMMANDS)[:-1], pytest.param("sweep", marks=pytest.mark.process)])
def test_the_tolerance_given_decides(
    command: str, sqlite_url: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = ("--database-url", sqlite_url)
    if command in ("resume", "verify"):
        assert run([*COMMANDS["train"], *database]) == 0
    assert run([*COMMANDS[command], "--tolerance", "1e-12", *database]) == 1
    assert judged(sqlite_url) == (False, 1e-12)
    said = capsys.readouterr()
    assert "tolerance 1e-12, relative to values beyond 1" in said.out + said.err
    monkeypatch.setenv("JOB_TOLERANCE", "0.5")
    again = {"resume": "verify"}.get(command, command)
    assert run([*COMMANDS[again], *database]) == 0
    assert judged(sqlite_url) == (True, 0.5)
    if command == "sweep":  # a tolerance that is not given changes no verdict
        monkeypatch.delenv("JOB_TOLERANCE")
        assert run([*COMMANDS["sweep"], *database]) == 0
        assert judged(sqlite_url) == (True, 0.5)


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "close"])
@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_tolerance_is_refused(command: str, value: str, sqlite_url: str, capsys: Output) -> None:
    assert run([*COMMANDS[command], "--tolerance", value, "--database-url", sqlite_url]) == 2
    assert "tolerance" in (said := capsys.readouterr().err)
    assert said.count("\n") == 1


@pytest.mark.process
def test_the_command_that_goes_on_names_the_tolerance(sqlite_url: str) -> None:
    trainer = start_and_wait(sqlite_url, 2_000_000, "--tolerance", "0.25")
    trainer.terminate()
    assert "--tolerance 0.25" in trainer.communicate()[1]


def test_the_figure_of_the_gap_shows_what_the_run_was_judged_by(sqlite_url: str) -> None:
    from job.plots.gaps import gap
    from job.plots.subject import read_subject

    with Store(sqlite_url, create=True) as store:
        for rows in (24, 160_000):
            row = dataset_row(name=f"{rows}.csv")
            row.sha256, row.train_rows = f"{rows:064}", rows
            writer = store.start_run(row, epochs=5, learning_rate=0.1, seed=0, environment={})
            writer.append("paddle", history(5))
            writer.append("python", history(5, seed=1))
        verdict = {"run_id": 1, "kind": "parity", "passed": True, "detail": ""}
        for tolerance in (0.25, 0.5):
            store.add_verdict(VerdictRow(**verdict, tolerance=tolerance))
        figure = gap([read_subject(store, store.run(run.id)) for run in store.runs()])
    labels = [text.get_text() for text in figure.legends[0].texts]
    assert labels[-2:] == ["tolerance 2.38419e-05", "tolerance 0.5"]
    drawn = [np.asarray(line.get_ydata()).tolist() for line in figure.axes[0].lines[-2:]]
    assert drawn == [[400 * 2**-24] * 2, [0.5] * 2]
