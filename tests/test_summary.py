"""`job runs`, `show` and the end of a training print what the store holds, figure by figure."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import numpy as np
import pytest

from db.lease import RunWriter
from db.schema import RunRow, VerdictRow
from db.store import Store
from job.cli import run, train
from job.cli.options import Mirroring
from job.cli.summary import print_conclusion, print_losses, print_parameters
from job.data.dataset import load
from job.training import Conclusion, judge
from job.training.loop import Outcome
from job.verdicts.fail_on import FailOn
from tests.samples import dataset_row, execute, history

Output = pytest.CaptureFixture[str]
ENVIRONMENT = {
    "cpu": "some",
    "blas": [{"library": "a", "kernel": "K"}, {"library": "b", "kernel": "L"}],
    "threads": {"x": 1},
}


def started(store: Store, **settings: object) -> RunWriter:
    defaults: dict[str, object] = {"epochs": 12, "learning_rate": 0.25, "seed": 3, "environment": ENVIRONMENT}
    return store.start_run(dataset_row(), **(defaults | settings))  # type: ignore[arg-type]


@pytest.fixture
def unequal(store: Store) -> Store:
    """A stopped run in which one model has eleven epochs and the other seven, with other numbers."""
    writer = started(store)
    writer.append("paddle", history(11))
    writer.append("python", history(7, seed=1))
    writer.finish("interrupted", "stopped by SIGTERM")
    for column, moment in (
        ("created_at", "01:02:03"),
        ("heartbeat_at", "04:05:06"),
        ("finished_at", "07:08:09"),
    ):
        execute(store, f"UPDATE runs SET {column} = '2026-01-02 {moment}.900000'")
    return store


def words(store: Store, *arguments: str) -> list[str]:
    return [*arguments, "--database-url", store.url.render_as_string(hide_password=False)]


def cells(out: str) -> list[list[str]]:
    """The cells of a table's lines."""
    return [re.split(r" {2,}", line.strip()) for line in out.splitlines() if line.strip()]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_the_list_has_the_models_that_are_behind(unequal: Store, capsys: Output) -> None:
    started(unequal, epochs=2000, learning_rate=1e-5, seed=4)
    execute(unequal, "UPDATE runs SET thinned_every = 100, status = 'diverged' WHERE id = 2")
    assert run(words(unequal, "runs")) == 0
    header, newest, oldest = cells(capsys.readouterr().out)
    assert header == ["run", "status", "trigger", "epochs", "rate", "seed", "created", "digest"]
    assert newest[:6] == ["2", "diverged, downsampled", "manual", "0 of 2,000", "1e-05", "4"]
    assert oldest == ["1", "interrupted", "manual", "7 of 12", "0.25", "3", "2026-01-02 01:02Z"]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_the_list_has_digests_and_names_several_datasets(store: Store, capsys: Output) -> None:
    digest, other = completed(store, shift=1.0).digests.values()
    assert digest is not None
    assert digest != other
    store.start_run(dataset_row(2, "other.csv"), epochs=9, learning_rate=0.1, seed=0, environment={})
    execute(store, "UPDATE datasets SET sha256 = 'other' WHERE name = 'other.csv'")
    assert run(words(store, "runs")) == 0
    header, newest, oldest = cells(capsys.readouterr().out)
    assert header[2:5] == ["trigger", "dataset", "epochs"]
    assert newest[3] == "other.csv"
    assert (oldest[3], oldest[-1]) == ("made.csv", digest[:12])


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_show_has_every_fact_and_the_last_losses_of_each_model(unequal: Store, capsys: Output) -> None:
    paddle, python = history(11), history(7, seed=1)

    def rmse(loss: float) -> str:
        return f"{loss**0.5:#.5g}"  # the target's range is 1

    assert run(words(unequal, "show", "1")) == 0
    *facts, note = cells(capsys.readouterr().out)
    assert dict(facts) == {
        "run": "1 (manual)",
        "status": "interrupted: stopped by SIGTERM",
        "dataset": f"made.csv (sha256 {'0' * 12}), target y",
        "rows": "24 to train, 6 to test",
        "features": "x0, x1, x2",
        "models": "paddle, python",
        "settings": "12 epochs, learning rate 0.25, seed 3",
        "trained": "paddle 11, python 7",
        "created": "2026-01-02 01:02:03Z",
        "heartbeat": "2026-01-02 04:05:06Z",
        "finished": "2026-01-02 07:08:09Z",
        "resumes": "0",
        "paddle loss": f"train {paddle.train_loss[10]:.8f}, test {paddle.test_loss[10]:.8f}",
        "python loss": f"train {python.train_loss[6]:.8f}, test {python.test_loss[6]:.8f}",
        "RMSE of paddle": f"train {rmse(paddle.train_loss[10])}, test {rmse(paddle.test_loss[10])}",
        "RMSE of python": f"train {rmse(python.train_loss[6])}, test {rmse(python.test_loss[6])}",
        "units of RMSE": "y; R2 and the training mean need the data file, made.csv, which is not found",
        "blas": "a kernel K, b kernel L",
        "cpu": "some",
        "threads": "x 1",
    }
    assert note == ["no verdicts yet; `job verify 1` gives them"]
    assert run(words(unequal, "show", "--json")) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["last_losses"] == {
        "paddle": {"train": float(paddle.train_loss[10]), "test": float(paddle.test_loss[10])},
        "python": {"train": float(python.train_loss[6]), "test": float(python.test_loss[6])},
    }
    assert (shown["environment"], shown["verdicts"]) == (ENVIRONMENT, [])
    assert shown["heartbeat_at"] == "2026-01-02T04:05:06.900000+00:00"


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_show_has_the_digest_of_each_model(store: Store, capsys: Output) -> None:
    digests = completed(store, shift=1.0).digests
    assert digests["paddle"] != digests["python"]
    assert run(words(store, "show")) == 0
    facts = dict(row for row in cells(capsys.readouterr().out) if len(row) == 2)
    assert {model: facts[f"{model} digest"] for model in digests} == digests


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_show_says_what_is_left_of_a_thinned_run_and_what_was_judged(unequal: Store, capsys: Output) -> None:
    execute(unequal, "UPDATE runs SET thinned_every = 100")
    assert run(words(unequal, "show", "1")) == 0
    *facts, note = cells(capsys.readouterr().out)
    assert dict(facts)["left"] == "downsampled to every 100th epoch, and the first, the best and the last"
    assert note == ["no verdicts"]
    execute(
        unequal,
        "INSERT INTO verdicts (run_id, kind, passed, tolerance, detail, created_at) VALUES "
        "(1, 'parity', 1, 0, 'so', '2026-01-02 01:02:03'), "
        "(1, 'drift', 0, 0.5, 'not so; nor so', '2026-01-02 01:02:04')",
    )
    assert run(words(unequal, "show", "1")) == 0
    assert capsys.readouterr().out.splitlines()[-3:] == [
        *("parity: passed: so", "drift: FAILED: not so", "nor so"),
    ]
    assert run(words(unequal, "show", "1", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["verdicts"][1] == {
        "id": 2,
        "run_id": 1,
        "kind": "drift",
        "against_run_id": None,
        "model": None,
        "against_model": None,
        "passed": False,
        "first_epoch": None,
        "worst": None,
        "tolerance": 0.5,
        "detail": "not so; nor so",
        "created_at": datetime(2026, 1, 2, 1, 2, 4, tzinfo=UTC).isoformat(),
    }


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("epochs", "shown"), [(12, [*range(0, 12, 2), 11]), (25, [*range(0, 25, 3)]), (1, [0])]
)
def test_the_table_of_losses_has_every_tenth_epoch_and_the_last(
    store: Store, capsys: Output, epochs: int, shown: list[int]
) -> None:
    writer = started(store, epochs=epochs)
    made = {"paddle": history(epochs), "python": history(max(1, epochs - 1), seed=1)}
    for model, own in made.items():
        writer.append(model, own)
    print_losses(store, store.run(1))
    title, header, *rows = cells(capsys.readouterr().out)
    assert title == ["Run 1: mean squared error before the epoch's update"]
    assert header == ["epoch", "paddle train", "paddle test", "python train", "python test"]
    assert rows == [
        [
            str(epoch),
            *(
                f"{losses[epoch]:.8f}" if epoch < len(own) else "nan"
                for own in made.values()
                for losses in (own.train_loss, own.test_loss)
            ),
        ]
        for epoch in shown
    ]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_the_table_of_parameters_has_each_models_last_row(unequal: Store, capsys: Output) -> None:
    print_parameters(unequal, unequal.run(1))
    _, header, *rows = cells(capsys.readouterr().out)
    assert header == ["parameter", "paddle", "python"]
    ends = [history(11), history(7, seed=1)]
    for i, row in enumerate(rows):
        numbers = [own.parameters[-1, i] for own in ends]
        assert row[0] == ["x0", "x1", "x2", "bias"][i]
        assert [np.float32(cell) for cell in row[1:]] == numbers
        assert [cell[0] for cell in row[1:]] == ["-" if number < 0 else "+" for number in numbers]
    assert len(rows) == 4


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_of_many_parameters_the_60_with_the_largest_values_are_printed(store: Store, capsys: Output) -> None:
    own = history(3, 69)
    writer = store.start_run(dataset_row(69), epochs=3, learning_rate=0.1, seed=0, environment={})
    writer.append("paddle", own)
    print_parameters(store, store.run())
    title, _, *rows = cells(capsys.readouterr().out)
    assert title == ["The 60 largest of 70 final parameters (of normalised columns)"]
    last = np.abs(own.parameters[-1])
    names = [*(f"x{i}" for i in range(69)), "bias"]
    assert [row[0] for row in rows] == [names[i] for i in range(70) if (last > last[i]).sum() < 60]


def conclude(store: Store, row: RunRow, outcome: Outcome, *, quiet: bool, fail_on: FailOn) -> int:
    verdicts = judge(store, row) if outcome.status == "completed" else []
    output = train.Output(Mirroring(), store.url.render_as_string(), quiet=quiet, fail_on=fail_on)
    return print_conclusion(store, row, Conclusion(outcome, verdicts), output, load())


def completed(store: Store, trigger: str = "manual", shift: float = 0.0) -> RunRow:
    """A run whose models agree, or differ by `shift` in the bias of their last epoch."""
    writer = started(store, epochs=3, trigger=trigger)
    other = history(3)
    other.parameters[2, -1] += shift
    writer.append("paddle", history(3))
    writer.append("python", other)
    writer.finish("completed")
    return store.run(writer.run_id)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("fail_on", "parity", "drift"), [("drift", 1, 1), ("parity", 1, 0), ("never", 0, 0)])
def test_the_exit_status_is_by_the_verdicts_that_count(
    store: Store, capsys: Output, fail_on: str, parity: int, drift: int
) -> None:
    def status(row: RunRow) -> int:
        return conclude(store, row, Outcome("completed"), quiet=True, fail_on=FailOn(fail_on))

    first = completed(store, "nightly")
    assert status(first) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "drift: not judged: this is the first scheduled run of its specification"
    )
    execute(
        store,
        f"UPDATE epochs SET train_loss = train_loss / 2 WHERE run_id = {first.id}",
        f"UPDATE blocks SET digest = 'other' WHERE run_id = {first.id}",
    )
    assert status(completed(store, "nightly")) == drift
    said, _, table = capsys.readouterr().out.partition("drift: FAILED: against run 1\n")
    assert said.splitlines()[-1].startswith("parity: passed: ")
    assert [line.split()[:2] for line in table.splitlines()[2:4]] == [["paddle", "0"], ["python", "0"]]
    assert status(completed(store, shift=1.0)) == parity
    *digests, integrity, line = capsys.readouterr().out.splitlines()
    assert digests == [f"{m.name}: digest {m.digest}" for m in store.run().models]
    assert integrity == "integrity: passed: every epoch is as it was written"
    assert line.startswith("parity: FAILED: ")


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_diverged_run_ends_with_status_1_and_no_verdict(store: Store, capsys: Output) -> None:
    row = completed(store)
    outcome = Outcome("diverged", "not finite any more: paddle at epoch 3")
    assert conclude(store, row, outcome, quiet=False, fail_on=FailOn.never) == 1
    out = capsys.readouterr().out
    assert out.startswith("Run 1: mean squared error")
    assert "\nFinal parameters" in out
    assert out.endswith("run 1 diverged: not finite any more: paddle at epoch 3\n")
    assert store.verdicts(row.id) == []


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_with_json_logs_a_quiet_end_is_in_the_log_alone(
    store: Store, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOB_LOG_FORMAT", " JSON ")
    row = completed(store, "nightly")
    assert conclude(store, row, Outcome("completed"), quiet=True, fail_on=FailOn.drift) == 0
    said = capsys.readouterr()
    assert said.out == ""
    paddle, _, _, verdict, first = map(json.loads, said.err.splitlines())
    assert (paddle["event"], paddle["message"]) == ("digest", f"paddle: digest {row.models[0].digest}")
    _, stored = store.verdicts(row.id)
    assert (verdict["event"], verdict["id"], verdict["passed"]) == ("verdict", stored.id, True)
    assert verdict["message"] == f"parity: passed: {stored.detail}"
    assert first["event"] == "first_night"
    assert conclude(store, row, Outcome("completed"), quiet=False, fail_on=FailOn.drift) == 0
    assert "parity: passed" in capsys.readouterr().out
    assert isinstance(stored, VerdictRow)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("as_json", [False, True])
def test_one_failed_verdict_of_several_is_a_failure(
    store: Store, capsys: Output, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    row = completed(store)
    made = [
        VerdictRow(run_id=row.id, kind=kind, passed=kind == "reference", tolerance=0, detail="so")
        for kind in ("parity", "reference")
    ]
    monkeypatch.setattr("job.cli.verify.judge", lambda *_: made)
    assert run(words(store, "verify", "1", *(["--json"] if as_json else []))) == 1
    out = capsys.readouterr().out
    if as_json:
        assert [verdict["passed"] for verdict in json.loads(out)] == [False, True]
    else:
        assert out.startswith("parity: FAILED: so\nreference: passed: so\nexact: not judged: ")
