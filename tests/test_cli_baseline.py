"""`job baseline` as a user calls it, and a series of nights on the command line."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

import pytest

from db.store import Store
from job.cli import run
from tests.series import night, trained

Output = pytest.CaptureFixture[str]
SETTINGS = "made.csv, 5 epochs, learning rate 0.1, seed 0, paddle, python"


@pytest.fixture
def url(migrated_url: str) -> str:
    """Runs 1 and 2 are scheduled and differ, run 3 was interrupted, run 4 has another seed."""
    with Store(migrated_url) as store:
        night(store, environment={"cpu": "a"})
        night(store, 1, environment={"cpu": "b"})
        trained(store, status="interrupted")
        trained(store, seed=1)
    return migrated_url


def baseline(url: str, *words: str) -> int:
    return run(["baseline", *words, "--database-url", url])


def test_who_accepted_what_and_why_is_shown(url: str, capsys: Output) -> None:
    assert baseline(url, "show") == 0
    assert capsys.readouterr().out == "no baseline is set; `job baseline set RUN --reason TEXT` sets one\n"
    assert baseline(url, "set", "1", "--reason", "the start", "--by", "alice") == 0
    assert capsys.readouterr().out == f"run 1 is the baseline of {SETTINGS}\n"
    assert baseline(url, "set", "2", "--reason", " a new\n CPU ", "--by", "bob") == 0
    first, former, environment = capsys.readouterr().out.splitlines()
    assert first == f"run 2 is the baseline of {SETTINGS}"
    assert former.startswith("the former baseline is run 1: first differing epoch 0, largest gap ")
    assert environment == "environment: cpu b, was a"
    assert baseline(url, "show") == 0
    _, row = capsys.readouterr().out.splitlines()
    with Store(url) as store:
        digest = store.run(2).models[0].digest
    assert row.split()[:2] == ["2", (digest or "")[:12]]
    assert row.endswith(f"Z  bob  a new CPU  {SETTINGS}")


def test_json_has_all_that_is_stored(url: str, capsys: Output) -> None:
    assert baseline(url, "show", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []
    for which in ("1", "2"):
        assert baseline(url, "set", which, "--reason", "why", "--by", "alice", "--json") == 0
        made = json.loads(capsys.readouterr().out)
    assert baseline(url, "show", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [made]
    with Store(url) as store:
        run_1, run_2 = store.run(1), store.run(2)
    assert made["digests"] == {model.name: model.digest for model in run_2.models}
    names = ("id", "kind", "run_id", "reason", "set_by", "former_run_id", "environment_changes")
    assert [made[name] for name in names] == [2, "set", 2, "why", "alice", run_1.id, "cpu b, was a"]
    assert baseline(url, "clear", "--reason", "moved", "--by", "bob", "--json") == 0
    cleared = json.loads(capsys.readouterr().out)
    assert [cleared[name] for name in names] == [3, "cleared", 2, "moved", "bob", None, None]


def test_the_only_baseline_is_cleared_without_its_name_and_one_of_several_by_a_run(
    url: str, capsys: Output
) -> None:
    for which in ("1", "4"):
        assert baseline(url, "set", which, "--reason", "why") == 0
    assert baseline(url, "clear", "--reason", "why") == 2
    assert "2 baselines are set; name the run of one: 1, 4" in capsys.readouterr().err
    assert baseline(url, "clear", "2", "--reason", "why") == 0  # a run of the same specification as run 1
    assert capsys.readouterr().out == f"run 1 is no longer the baseline of {SETTINGS}\n"
    assert baseline(url, "clear", "--reason", "why") == 0
    assert baseline(url, "show", "--json") == 0
    assert capsys.readouterr().out.endswith("[]\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["set", "9", "--reason", "why"], "there is no run 9"),
        (["set", "3", "--reason", "why"], "run 3 is interrupted; only a completed run can be a baseline"),
        (["set", "1", "--reason", "why"], "run 1 is the baseline already, set by alice: the start"),
        (["set", "2"], "--reason"),
        (["set", "2", "--reason", " \t"], "'--reason': it is empty"),
        (["set", "2", "--reason", "\udcff"], "'--reason': it is not UTF-8"),
        (["set", "2", "--reason", "why", "--by", " "], "'--by' (env var: 'JOB_USER'): it is empty"),
        (["clear"], "--reason"),
        (["clear", "9", "--reason", "why"], "there is no run 9"),
        (["clear", "4", "--reason", "why"], "the specification of run 4 has no baseline"),
    ],
)
def test_a_refusal_is_one_line(url: str, capsys: Output, words: list[str], complaint: str) -> None:
    assert baseline(url, "set", "1", "--reason", "the start", "--by", "alice") == 0
    capsys.readouterr()
    assert baseline(url, *words) == 2
    said = capsys.readouterr()
    assert complaint in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)


def test_who_decides_is_the_option_or_the_setting_or_the_login_name(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def by(which: str, *options: str) -> str:
        capsys.readouterr()
        assert baseline(url, "set", which, "--reason", "why", "--json", *options) == 0
        return str(json.loads(capsys.readouterr().out)["set_by"])

    monkeypatch.setattr(getpass, "getuser", lambda: "login")
    assert by("1") == "login"
    monkeypatch.setenv("JOB_USER", "setting")
    assert by("2") == "setting"
    assert by("1", "--by", "option") == "option"
    monkeypatch.delenv("JOB_USER")

    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert baseline(url, "set", "2", "--reason", "why") == 2
    assert "your user has no login name; give yours" in capsys.readouterr().err


MODEL = """
from pathlib import Path
import numpy as np
from job.models.python import PythonModel

class Mine(PythonModel):
    def __init__(self, *given):
        super().__init__(*given)
        if Path("changed").exists() and self.epoch == 0:
            self.parameters[:] = np.nextafter(self.parameters, np.float32(9))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("fail_on", "expected"), [("drift", [0, 0, 1, 1, 0]), ("change", [0, 0, 1, 0, 0])])
def test_the_exit_status_of_nightly_is_1_until_the_drift_is_accepted(
    sqlite_url: str, capsys: Output, fail_on: str, expected: list[int]
) -> None:
    Path("mine.py").write_text(MODEL)
    words = ["nightly", "--once", "--model", "mine.py:Mine", "--epochs", "5", "--fail-on", fail_on]
    found = []
    for day in range(1, 6):
        if day == 3:
            Path("changed").touch()
        if day == 5:
            assert baseline(sqlite_url, "set", "latest", "--reason", "nextafter is fine") == 0
        capsys.readouterr()
        found.append(run([*words, "--database-url", sqlite_url]))
        out = capsys.readouterr().out
        assert out.count("drift: FAILED: against run 2\n") == (day == 3)
        assert out.count("baseline: FAILED: differs since run 3 of ") == (day in (3, 4))
        assert out.count("baseline: passed: against run ") == (day in (2, 5))
        assert out.count("first differing epoch  ") == {3: 2, 4: 1}.get(day, 0)  # tables
        if day == 1:
            assert baseline(sqlite_url, "set", "latest", "--reason", "the start") == 0
    assert found == expected
