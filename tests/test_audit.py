"""An audit finds the first stored epoch that its model does not make of the one before, and only such."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.errors import StoreError
from db.history import History
from db.schema import VerdictRow
from db.store import Store
from job.cli import run
from job.data.dataset import load
from job.models.python import PythonModel
from job.replay import audit as auditing
from job.replay.audit import ALONE, draw, judge, sampled, stretches
from job.replay.state import prepare
from job.training import Settings, start, train_and_judge
from tests.conftest import Job
from tests.samples import execute, write_csv

Output = pytest.CaptureFixture[str]
EPOCHS = 40


@pytest.fixture
def stored(database_url: str, tmp_path: Path) -> str:
    """A store with one run of both models on made.csv."""
    data = load(write_csv(tmp_path / "made.csv"))
    with Store(database_url) as store:
        train_and_judge(start(store, Settings(data, epochs=EPOCHS, learning_rate=0.1)), data)
    return database_url


def audited(url: str, *statements: str, sample: int | None = None, seed: int = 1) -> VerdictRow:
    """The verdict on run 1 after these changes."""
    with Store(url) as store:
        execute(store, *statements)
        replay = prepare(store, store.run(1))
        return judge(replay, draw(replay, sample, seed))


def test_a_run_as_it_was_trained_is_reproduced(stored: str) -> None:
    whole = audited(stored)
    assert (whole.kind, whole.passed, whole.first_epoch) == ("audit", True, None)
    assert (
        "replayed 40 of 40 epochs of paddle, 40 of 40 epochs of python: all have the stored bits"
        in whole.detail
    )
    some = audited(stored, sample=10, seed=3)
    assert some.passed
    assert (
        "replayed 10 of 40 epochs of paddle, 10 of 40 epochs of python: "
        "all have the stored bits, drawn with --seed 3" in some.detail
    )


TAMPERINGS = {
    "an epoch's loss": (
        "UPDATE epochs SET test_loss = test_loss * (1 + 1e-7) WHERE model = 'paddle' AND epoch = 15",
        15,
        "paddle",
    ),
    "all test losses": ("UPDATE epochs SET test_loss = test_loss * 0.9 WHERE model = 'python'", 0, "python"),
    "the seed": ("UPDATE runs SET seed = 1", 0, "paddle"),
    "the learning rate": ("UPDATE runs SET learning_rate = 0.1000001", 0, "paddle"),
    "one model's history for the other's": (
        "UPDATE epochs SET parameters = (SELECT e.parameters FROM epochs e WHERE e.model = 'paddle' "
        "AND e.epoch = epochs.epoch) WHERE model = 'python'",
        None,
        "python",
    ),
    "an epoch taken from another": (
        "UPDATE epochs SET parameters = (SELECT e.parameters FROM epochs e WHERE e.model = 'paddle' "
        "AND e.epoch = 20) WHERE model = 'paddle' AND epoch = 21",
        21,
        "paddle",
    ),
    "a row removed": ("DELETE FROM epochs WHERE model = 'python' AND epoch = 30", 30, "python"),
    "the last row removed": ("DELETE FROM epochs WHERE model = 'python' AND epoch = 39", 39, "python"),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_each_tampering_is_found_at_its_first_epoch(what: str, stored: str) -> None:
    statement, epoch, model = TAMPERINGS[what]
    found = audited(stored, statement)
    assert not found.passed
    assert epoch is None or found.first_epoch == epoch
    assert f"; epoch {found.first_epoch} of {model}: " in found.detail
    removed = what.endswith("removed")
    assert ("the stored values, settings or models were changed" in found.detail) != removed
    assert ("its row was removed from the store" in found.detail) == removed


def test_a_completed_run_that_lacks_its_end_is_found_by_any_sample(stored: str) -> None:
    found = audited(stored, "DELETE FROM epochs WHERE model = 'python' AND epoch >= 30", sample=1)
    assert (found.passed, found.first_epoch) == (False, 30)
    assert "epoch 30 of python: it is not stored" in found.detail


def test_a_drawn_epoch_is_found_broken_and_none_else(stored: str) -> None:
    change = "UPDATE epochs SET test_loss = test_loss + 1 WHERE model = 'paddle' AND epoch = 15"
    with_it = next(seed for seed in range(100) if 15 in sampled(EPOCHS, 5, seed))
    without = next(seed for seed in range(100) if 15 not in sampled(EPOCHS, 5, seed))
    assert audited(stored, change, sample=5, seed=without).passed
    found = audited(stored, sample=5, seed=with_it)
    assert (found.passed, found.first_epoch) == (False, 15)
    assert found.worst == pytest.approx(1, abs=1e-5)
    assert "the stored test loss is " in found.detail


def test_the_first_epoch_of_all_models_counts_and_the_others_are_named(stored: str) -> None:
    changes = [
        f"UPDATE epochs SET train_loss = 0 WHERE model = '{model}' AND epoch = {epoch}"
        for model, epoch in (("paddle", 20), ("python", 10))
    ]
    found = audited(stored, *changes)
    assert found.first_epoch == 10
    assert found.detail.startswith(
        "not reproduced: python from epoch 10, paddle from epoch 20; epoch 10 of python: "
    )
    assert "replayed 21 of 40 epochs of paddle, 11 of 40 epochs of python; " in found.detail


@given(st.integers(1, 300), st.integers(1, 400), st.integers(0, 99))
def test_the_drawn_epochs_are_others_each_with_epoch_0_and_the_same_for_a_seed(
    epochs: int, sample: int, seed: int
) -> None:
    found = sampled(epochs, sample, seed)
    assert found[0] == 0
    assert found == sorted(set(found)) == sampled(epochs, sample, seed)
    assert len(found) == min(sample, epochs)
    assert found[-1] < epochs


@given(st.sets(st.integers(0, 60)), st.integers(1, 9))
def test_stretches_are_the_epochs_in_consecutive_pieces(epochs: set[int], longest: int) -> None:
    pieces = list(stretches(sorted(epochs), longest))
    assert [epoch for piece in pieces for epoch in piece] == sorted(epochs)
    assert all(1 <= len(piece) <= longest for piece in pieces)
    assert {len(piece) for piece in pieces[:ALONE]} <= {1}


def test_every_epoch_is_told_to_the_progress_whatever_the_pieces(
    stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditing, "STRETCH", 7)
    told: list[int] = []
    with Store(stored) as store:
        replay = prepare(store, store.run(1))
        assert judge(replay, draw(replay, None, 0), told.append).passed
    assert told == 2 * [1, 1, 1, 7, 7, 7, 7, 7, 2]


HIDDEN = """
import numpy as np

from db.history import History
from job.models.python import PythonModel

class Momentum(PythonModel):
    moved = 0

    def advance(self, epochs):
        rows = []
        for _ in range(epochs):
            before = self.parameters
            row = super().advance(1)
            self.moved = np.float32(0.5) * self.moved + (self.parameters - before)
            self.parameters = before + self.moved
            row.parameters[0] = self.parameters
            rows.append(row)
        return History.concatenate(rows)
"""


def test_state_outside_the_parameters_is_found_by_a_whole_audit(migrated_url: str, tmp_path: Path) -> None:
    file = tmp_path / "hidden.py"
    file.write_text(HIDDEN)
    settings = Settings(load(write_csv(tmp_path / "made.csv")), EPOCHS, 0.1, models=(f"{file}:Momentum",))
    with Store(migrated_url) as store:
        train_and_judge(start(store, settings), settings.dataset)
    found = audited(migrated_url)
    assert (found.passed, found.first_epoch) == (False, 1)
    assert "or hidden keeps state outside its parameters (`job models check` finds that)" in found.detail


def test_in_another_environment_the_verdict_shows_what_differs(stored: str) -> None:
    with Store(stored) as store:
        environment = json.dumps(store.run(1).environment | {"python": "3.9.1"})
    changes = (
        "UPDATE epochs SET test_loss = 1 WHERE epoch = 3",
        f"UPDATE runs SET environment = '{environment}'",
    )
    found = audited(stored, *(each.replace(":", r"\:") for each in changes))
    assert (found.passed, found.first_epoch) == (False, 3)
    assert "this environment is another than the run's, which may be the reason: python 3." in found.detail
    assert ", was 3.9.1" in found.detail
    assert "changed" not in found.detail


def test_an_epoch_is_judged_by_the_environment_that_its_model_was_resumed_in(stored: str) -> None:
    with Store(stored) as store:
        now = store.run(1).environment
    resume = {"epoch": 30, "epochs": {"paddle": 30, "python": 10}, "changed": {"python": now["python"]}}
    environment = json.dumps(now | {"python": "3.9.1", "resumes": [resume]}).replace(":", r"\:")
    tampered = "UPDATE epochs SET test_loss = 1 WHERE model = '{}' AND epoch = {}"
    changed = f"UPDATE runs SET environment = '{environment}'"
    assert "this environment is the run's" in audited(stored, changed, tampered.format("python", 20)).detail
    assert ", was 3.9.1" in audited(stored, tampered.format("paddle", 15)).detail


def test_another_environment_does_not_excuse_a_removed_row(stored: str) -> None:
    found = audited(
        stored,
        "DELETE FROM epochs WHERE model = 'python' AND epoch = 30",
        """UPDATE runs SET environment = '{"python"\\: "3.9.1"}'""",
    )
    assert (found.passed, found.first_epoch) == (False, 30)
    assert "no environment explains this: its row was removed from the store" in found.detail
    assert "may be the reason" not in found.detail


def test_a_sample_of_all_epochs_was_not_drawn(stored: str) -> None:
    assert "drawn" not in audited(stored, sample=EPOCHS).detail
    assert "drawn with --seed 1" in audited(stored, sample=EPOCHS - 1).detail


def test_a_run_that_is_downsampled_or_has_no_epoch_is_refused(stored: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="only a whole run can be audited"):
        audited(stored, "UPDATE runs SET thinned_every = 10")
    with pytest.raises(StoreError, match="run 1 has no epoch yet"):
        audited(stored, "UPDATE runs SET thinned_every = NULL, status = 'crashed'", "DELETE FROM epochs")


# -- the command ------------------------------------------------------------------------------------


def test_the_command_stores_its_verdict_and_fails_with_status_1(stored: str, capsys: Output) -> None:
    url = ["--database-url", stored]
    assert run(["audit", "--sample", "5", "--seed", "7", "--json", *url]) == 0
    passed = json.loads(capsys.readouterr().out)
    assert (passed["kind"], passed["passed"], passed["tolerance"]) == ("audit", True, 0)
    with Store(stored) as store:
        execute(store, "UPDATE runs SET seed = 5")
    assert run(["audit", "1", *url]) == 1
    assert (
        "audit: FAILED: not reproduced: paddle from epoch 0, python from epoch 0; "
        "epoch 0 of paddle: the stored train loss is " in capsys.readouterr().out
    )
    with Store(stored) as store:
        kinds = [(verdict.kind, verdict.passed) for verdict in store.verdicts(1) if verdict.kind == "audit"]
    assert kinds == [("audit", True), ("audit", False)]


@pytest.mark.parametrize(
    ("words", "statement", "said"),
    [
        (["--all", "--sample", "3"], None, "--all replays every epoch"),
        (["--sample", "0"], None, "--sample"),
        (["2"], None, "there is no run 2"),
        ([], "UPDATE datasets SET sha256 = 'f00'", "which is not found; name its file with --data"),
        (
            [],
            "UPDATE parameters SET name = 'x9' WHERE name = 'x1'",
            "parameter 2 is x9 in the store, and x1 in the models with target y; the store or the",
        ),
        (
            [],
            "DELETE FROM parameters WHERE name = 'bias'",
            "parameter 4 is missing in the store, and bias in the models",
        ),
        (["--data", "made.csv"], "UPDATE datasets SET sha256 = 'f00'", "not what run 1 was trained on"),
    ],
)
def test_what_cannot_be_audited_is_refused_in_one_line_and_nothing_is_stored(
    words: list[str], statement: str | None, said: str, stored: str, capsys: Output
) -> None:
    with Store(stored) as store:
        execute(store, *([statement] if statement else []))
        before = len(store.verdicts(1))
    assert run(["audit", *words, "--database-url", stored]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err
    with Store(stored) as store:
        assert len(store.verdicts(1)) == before


@pytest.mark.slow
def test_other_numerics_are_shown_and_not_taken_for_tampering(sqlite_url: str, job: Job) -> None:
    url = ("--database-url", sqlite_url)
    assert job("train", "--epochs", "50", *url).returncode == 0
    assert job("audit", "--all", *url).returncode == 0
    done = job("audit", "--all", *url, JOB_PIN_NUMERICS="0", OPENBLAS_CORETYPE="Sandybridge")
    assert done.returncode == 1, done.stdout
    assert "blas openblas kernel Sandybridge, was Haswell" in done.stdout


class NegativeZero(PythonModel):
    """Its losses are -0.0, which are stored as 0.0."""

    def advance(self, epochs: int) -> History:
        history = super().advance(epochs)
        history.train_loss[:] = history.test_loss[:] = -0.0
        return history


def test_a_loss_of_negative_zero_is_reproduced(
    stored: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("job.models.python.PythonModel", NegativeZero)
    data = load(tmp_path / "made.csv")
    with Store(stored) as store:
        train_and_judge(start(store, Settings(data, EPOCHS, 0.1, models=("python",))), data)
        replay = prepare(store, store.run(2))
        assert judge(replay, draw(replay, None, 1)).passed
