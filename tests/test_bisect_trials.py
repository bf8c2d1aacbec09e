"""A trial trains what it is asked for, and its result is known by all that decides it; nothing is built."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from db.schema import RunRow
from db.store import Store
from job.bisect.trials import FailedError, Trials
from tests.samples import histories, run_row, start

SETTINGS = {"python": "3.11", "packages numpy": "2.0"}


def trials(directory: Path, run: RunRow) -> Trials:
    (directory / "work").mkdir(exist_ok=True)
    return Trials(directory / "work", "uv", run, directory / "made.csv")


def test_a_trial_has_the_settings_of_the_run_and_the_model_in_question(tmp_path: Path) -> None:
    run = run_row(seed=7, learning_rate=0.05)
    words = trials(tmp_path, run).training(SETTINGS, "python", 8)
    given = [(words[i], words[i + 1]) for i in range(len(words) - 1) if words[i].startswith("--")]
    assert given[2:7] == [
        ("--epochs", "8"),
        ("--learning-rate", "0.05"),
        ("--seed", "7"),
        ("--model", "paddle"),  # it gives the start
        ("--model", "python"),
    ]


def test_a_trial_has_the_pins_of_its_settings_and_no_others(tmp_path: Path) -> None:
    words = trials(tmp_path, run_row()).training(SETTINGS | {"pins OMP_NUM_THREADS": "2"}, "python", 8)
    others = ["OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_CORETYPE", "MKL_CBWR"]
    removed = [word for name in others for word in ("-u", name)]
    assert words[: len(removed) + 2] == ["env", *removed, "OMP_NUM_THREADS=2"]


@pytest.mark.process
def test_a_trial_that_cannot_start_has_failed(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match=r"cannot train: .*python-3\.11"):
        trials(tmp_path, run_row()).train(SETTINGS, "python", 8)


def test_a_trial_with_another_seed_learning_rate_model_or_length_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("job.bisect.trials.environment", lambda: {"cpu": "a"})
    runs: list[dict[str, Any]] = [{}, {}, {"seed": 1}, {"learning_rate": 0.2}]
    one, again, *others = (
        trials(tmp_path, run_row(**settings)).key(SETTINGS, "python", 8) for settings in runs
    )
    others += [trials(tmp_path, run_row()).key(SETTINGS, *about) for about in (("paddle", 8), ("python", 9))]
    assert one == again
    assert len({one, *others}) == 5


def test_a_trial_of_other_data_models_code_or_on_another_cpu_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(change: str = "") -> str:
        """The key after a change of this attribute of the dataset, of the last model, the CPU or the code."""
        run, cpu = run_row(), "a"
        monkeypatch.setattr("job.bisect.trials.SOURCE", tmp_path / "source")
        (tmp_path / "source" / "db").mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / "db" / "made.py").write_text(f"CHANGED = {change == 'code'}\n")
        if change == "cpu":
            cpu = "b"
        elif change in ("sha256", "target", "reading"):
            setattr(run.dataset, change, f"other {change}")
        elif change in ("own.py:B", "own.py:C"):  # two classes of one file
            run.models[-1].source, run.models[-1].source_sha256 = change, "0" * 64
        elif change:
            setattr(run.models[-1], change, f"other {change}")
        monkeypatch.setattr("job.bisect.trials.environment", lambda: {"cpu": cpu})
        return trials(tmp_path, run).key(SETTINGS, "python", 8)

    changes = ["sha256", "target", "reading", "name", "source", "source_sha256", "code", "cpu"]
    changes += ["own.py:B", "own.py:C"]
    assert key() == key()
    assert len({key(), *map(key, changes)}) == 1 + len(changes)


def test_a_trial_has_no_setting_of_the_user_and_no_run_of_the_trial_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, str]] = []

    def fails(*_: object, env: dict[str, str], **__: object) -> Any:
        given.append(env)
        return subprocess.CompletedProcess([], 2, "", "job: error: no such file")

    monkeypatch.setattr("job.bisect.trials.subprocess.run", fails)
    for name in ("JOB_MODELS", "PYTHONHASHSEED", "OWN"):
        monkeypatch.setenv(name, "mine")
    made = trials(tmp_path, run_row())
    (made.directory / "trial.db").touch()
    with pytest.raises(FailedError, match=r"^cannot train: no such file$"):
        made.train(SETTINGS, "python", 8)
    (variables,) = given
    assert variables["OWN"] == "mine"
    assert not [name for name in variables if name.startswith(("JOB_", "PYTHON"))]


@pytest.fixture
def trained(migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """The digest of `python` by a trial that gives a run with that version of NumPy."""

    def digest(numpy: str) -> str:
        with Store(migrated_url) as store:
            writer = start(store, environment={"python": "3.11", "packages": {"numpy": numpy}})
            for model, made in histories(10).items():
                writer.append(model, made)
            writer.finish("completed")

        def train(*_: object, **__: object) -> Any:
            shutil.copy(migrated_url.removeprefix("sqlite:///"), tmp_path / "work" / "trial.db")
            return subprocess.CompletedProcess([], 0, "", "")

        monkeypatch.setattr(subprocess, "run", train)
        return trials(tmp_path, run_row()).train(SETTINGS, "python", 10)

    return digest


def test_the_digest_is_that_of_the_model_in_question(
    trained: Callable[[str], str], migrated_url: str
) -> None:
    found = trained("2.0")
    with Store(migrated_url) as store:
        assert store.run().digests["python"] == found != store.run().digests["paddle"]


def test_a_trial_in_another_environment_than_asked_for_has_no_result(trained: Callable[[str], str]) -> None:
    with pytest.raises(FailedError, match=r"another environment than asked for: packages numpy 2\.1, was 2"):
        trained("2.1")
