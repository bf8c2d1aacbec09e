"""The options by which a table is read are stored with its runs, and nothing needs them again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from db.migrate import downgrade
from db.specification import Specification
from db.store import Store
from job.cli import load as find_command
from job.cli import run
from job.cli.nightly import settings as as_environment
from job.data.dataset import DEFAULT_DATA, load
from job.data.reading import Reading
from job.sweep.tasks import Result
from job.training import Settings, start, start_or_resume
from job.verdicts.drift import specification_changes
from job.verdicts.verify import is_default_run
from tests.conftest import Job
from tests.samples import dataset_row, history, sqlite_file
from tests.test_cli_sweep import Cluster, sweep

Output = pytest.CaptureFixture[str]
WORDS = ("--missing", "mean", "--drop", "place,flat", "--shuffle", "3", "--test-share", "0.25")
READING = Reading(drop=("place", "flat"), missing="mean", test_share=0.25, shuffle=3)
TEXT = "place;a;flat;b;price\n" + "".join(
    f"town {i};{i * i % 7},5;7;{'NA' if i % 9 == 5 else i % 5};{i * 3 % 11 + i % 2}\n" for i in range(40)
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (path := tmp_path / "made.csv").write_text(TEXT)
    return path


def train(url: str, data: Path, *more: str, epochs: int = 12) -> int:
    words = ["--data", str(data), "--epochs", str(epochs), "--model", "python", *WORDS]
    return run(["train", *words, "--database-url", url, *more])


def test_the_options_are_stored_with_the_dataset(database_url: str, data: Path, capsys: Output) -> None:
    assert train(database_url, data) == 0
    with Store(database_url) as store:
        row = store.run().dataset
        assert Reading.of(row.reading) == READING
        assert [feature.name for feature in row.features] == ["a", "b"]
        assert (row.train_rows, row.test_rows) == (30, 10)
    capsys.readouterr()
    assert run(["show", "1", "--json", "--database-url", database_url]) == 0
    assert json.loads(capsys.readouterr().out)["reading"] == json.loads(READING.stored)
    assert run(["show", "1", "--database-url", database_url]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "read with --drop place,flat --missing mean --test-share 0.25 --shuffle 3" in said


@pytest.mark.slow
def test_every_command_reads_the_table_as_the_run_did(
    database_url: str, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    assert train(database_url, data) == 0
    for name, value in (("JOB_DROP", "a"), ("JOB_MISSING", "drop"), ("JOB_SHUFFLE", "9")):
        monkeypatch.setenv(name, value)  # these are for new runs
    found = ("--database-url", database_url)
    for words in (
        ("verify", "1"),
        ("step", "1", "5"),
        ("audit", "1", "--all"),
        ("query", "convergence"),
        ("plot", "1"),
        ("report", "1"),
    ):
        for more in ((), ("--data", str(data))):
            assert run([*words, *more, *found]) == 0, capsys.readouterr().err
    with Store(database_url) as store:
        kinds = {verdict.kind: verdict.passed for verdict in store.verdicts(1)}
        assert kinds == {"integrity": True, "exact": True, "audit": True}


def test_a_resumed_run_needs_no_option_again(database_url: str, data: Path, tmp_path: Path) -> None:
    assert train(database_url, data, epochs=30) == 0
    assert train(database_url, data, epochs=12) == 0
    elsewhere = str(shutil.copy(data, tmp_path / "copy of it.txt"))
    words = ["--data", elsewhere, "--epochs", "30", "--database-url", database_url]
    assert run(["resume", "2", *words]) == 0
    with Store(database_url) as store:
        assert store.run(1).models[0].digest == store.run(2).models[0].digest


def test_runs_of_other_options_are_other_runs(database_url: str, data: Path) -> None:
    other = Reading(missing="drop", drop=READING.drop)
    with Store(database_url) as store:
        one, two = (Settings(load(data, None, each), 5, models=("python",)) for each in (READING, other))
        first = start(store, one)
        first.finish("interrupted")
        second = start_or_resume(store, two)
        second.finish("interrupted")
        assert first.run_id != second.run_id
        runs = [store.run(first.run_id), store.run(second.run_id)]
        assert [Specification.of(each) for each in runs] == [one.specification, two.specification]
        assert [each.id for each in store.all(one.specification.runs())] == [first.run_id]
        again = start_or_resume(store, one)
        assert again.run_id == first.run_id
        again.finish("interrupted")
        (change,) = specification_changes(*runs)
        assert str(change) == f"reading options {READING.stored}, was {other.stored}"


def test_only_a_run_with_the_default_options_has_the_notebooks_numbers(store: Store) -> None:
    writers = [
        start(store, Settings(load(DEFAULT_DATA, None, reading))) for reading in (Reading(), READING_HOUSING)
    ]
    assert [is_default_run(store.run(writer.run_id)) for writer in writers] == [True, False]


READING_HOUSING = Reading(shuffle=0)


@pytest.mark.process
def test_a_scheduled_runs_process_gets_the_options(
    job: Job, sqlite_url: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = ("nightly", "--data", data, "--epochs", 5, "--model", "python", "--database-url", sqlite_url)
    for _ in range(2):
        done = job(*common, "--once", *WORDS)
        assert done.returncode == 0, done.stderr
    assert "drift: passed: against run 1" in done.stdout
    done = job(*common, "--once", *WORDS, "--shuffle", 4)
    assert "drift: not judged: this is the first scheduled run of its specification" in done.stdout


def test_every_option_of_a_table_is_passed_on_to_a_scheduled_runs_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = find_command("nightly")
    words = ["--delimiter", "tab", "--decimal", ",", "--thousands", ".", "--no-header", "--constant", "drop"]
    given = [*words, "--features", 'a,"b,c"', *WORDS]
    context = command.make_context("nightly", given)
    passed = as_environment(context)
    for name, value in passed.items():
        monkeypatch.setenv(name, value)
    again = command.make_context("nightly", [])
    assert again.params == context.params
    assert passed["JOB_FEATURES"] == 'a,"b,c"'


def test_a_sweep_keeps_to_one_way_of_reading(
    sqlite_url: str, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    Cluster(monkeypatch, Result(1, "completed"))
    common = ("--seeds", "5", "--name", "s", "--data", str(data))
    assert sweep(sqlite_url, *common, *WORDS) == 0
    with Store(sqlite_url) as store:
        row = load(data, None, READING).row()
        store.start_run(row, epochs=9, learning_rate=0.1, seed=0, environment={}, sweep="s")
    assert sweep(sqlite_url, *common, *WORDS) == 0
    assert sweep(sqlite_url, *common, *WORDS, "--shuffle", "4") == 2
    assert "the sweep s has runs of another table or target, or read it otherwise" in (
        capsys.readouterr().err
    )


@pytest.mark.thorough
def test_a_model_is_checked_on_a_table_that_needs_options(data: Path, capsys: Output) -> None:
    words = ["models", "check", "python", "--data", str(data), "--epochs", "10"]
    assert run(words) == 2
    assert "line 2, column 1 (place): 'town 0' is not a number" in capsys.readouterr().err
    assert run([*words, *WORDS]) == 0


def test_what_is_left_out_and_doubted_is_said_before_a_training(
    sqlite_url: str, tmp_path: Path, capsys: Output
) -> None:
    (path := tmp_path / "made.csv").write_text(
        ",a,y\n" + "".join(f"{i},{i * i % 11},{i / 4}\n" for i in range(30))
    )
    words = ["train", "--data", str(path), "--epochs", "2", "--model", "python", "--database-url", sqlite_url]
    assert run(words) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [
        "job: made.csv: column 1 is left out: it has no name, so it is taken for an index",
        "job: made.csv: warning: the values of y in the training and in the test rows do not overlap, as if "
        "the rows were sorted; use --shuffle 0",
    ]


def test_an_older_schema_takes_no_run_that_it_would_read_in_another_way(
    store: Store, database_url: str
) -> None:
    row = dataset_row()
    row.reading = READING.stored
    writer = store.start_run(row, epochs=5, learning_rate=0.1, seed=0, environment={})
    writer.append("paddle", history(5))
    store.close()
    with Store(database_url) as opened, pytest.raises(Exception, match="run 1 has some; nothing was changed"):
        downgrade(opened.engine, "0005")
    with Store(database_url) as opened:
        assert opened.run(1).dataset.reading == READING.stored


def test_options_of_a_later_version_are_refused_in_one_line(
    sqlite_url: str, data: Path, capsys: Output
) -> None:
    assert train(sqlite_url, data) == 0
    capsys.readouterr()
    with sqlite_file(sqlite_url) as connection:
        connection.execute("""UPDATE datasets SET reading = '{"encoding": "latin1"}'""")
    assert run(["verify", "1", "--data", str(data), "--database-url", sqlite_url]) == 2
    assert "are unknown to this version" in capsys.readouterr().err
