"""`job compare` prints whether two runs have the same bits, and where and by how much they differ."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from db.history import History
from db.model_source import ModelSource
from db.schema import DatasetRow
from db.store import Store
from job.cli import run
from tests.samples import dataset_row, execute, history

Output = pytest.CaptureFixture[str]


def add(store: Store, features: int = 3, settings: dict[str, Any] | None = None, **histories: History) -> int:
    values: dict[str, Any] = {"epochs": 9, "learning_rate": 0.1, "seed": 0, "environment": {}}
    values["dataset"] = dataset_row(features, f"made{features}.csv")
    if histories:
        values["models"] = [ModelSource(model, model) for model in histories]
    writer = store.start_run(**values | (settings or {}))
    for model, own in histories.items():
        writer.append(model, own)
    return writer.run_id


def compare(store: Store, *words: object) -> int:
    url = store.url.render_as_string(hide_password=False)
    return run(["compare", *map(str, words), "--database-url", url])


def test_the_same_bits_pass(store: Store, capsys: Output) -> None:
    for _ in range(2):
        add(store, paddle=history(9), python=history(9, seed=1))
    assert compare(store, 1, 2) == 0
    said = capsys.readouterr().out
    assert "paddle: the same bits on all 9 epochs\npython: the same bits on all 9 epochs\n" in said
    assert "drift: passed: runs 1 and 2 are the same" in said
    verdict = store.verdicts(1)[0]
    assert (verdict.kind, verdict.against_run_id, verdict.passed, verdict.worst) == ("drift", 2, True, 0.0)


def test_the_last_bit_of_one_weight_is_found(store: Store, capsys: Output) -> None:
    other = history(9)
    other.parameters[4, 1] = np.nextafter(other.parameters[4, 1], np.float32(9))
    gap = abs(float(other.parameters[4, 1]) - float(history(9).parameters[4, 1]))
    add(store, paddle=history(9))
    add(store, paddle=other)
    assert compare(store, 1, 2) == 1
    said = capsys.readouterr().out
    lines = [line.split("  ") for line in said.splitlines()]
    assert ["model", "first differing epoch", "largest gap", "where", "units"] in [
        [*filter(None, (cell.strip() for cell in line))] for line in lines
    ]
    assert said.splitlines()[2].split() == ["paddle", "4", f"{gap:.2g}", "x1,", "epoch", "4", "1"]
    assert all(len(line) <= 80 for line in said.splitlines())
    assert "drift: FAILED: runs 1 and 2 differ" in said
    verdict = store.verdicts(1)[0]
    assert (verdict.passed, verdict.first_epoch, verdict.worst) == (False, 4, gap)
    assert compare(store, 1, 2, "--tolerance", 1e-6) == 0
    assert store.verdicts(1)[1].passed


def test_the_sign_of_a_zero_is_a_difference(store: Store) -> None:
    plus, minus = history(3), history(3)
    plus.parameters[1, -1], minus.parameters[1, -1] = 0.0, -0.0
    add(store, paddle=plus)
    add(store, paddle=minus)
    assert compare(store, 1, 2) == 1
    assert store.verdicts(1)[0].first_epoch == 1


def test_fewer_epochs_are_a_difference(store: Store, capsys: Output) -> None:
    add(store, paddle=history(9))
    add(store, paddle=history(9)[:5])
    assert compare(store, 1, "latest", "--json") == 1
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["passed"] is False
    assert "the same bits on all 5 epochs; run 2 lacks 4 epochs, the first of them 5" in verdict["detail"]


@pytest.mark.parametrize("tolerance", [0, 1])
def test_a_model_that_one_run_lacks_is_a_difference(store: Store, capsys: Output, tolerance: float) -> None:
    add(store, paddle=history(9))
    add(store, paddle=history(9), new=history(9, seed=1))
    for a, b in [(2, 1), (1, 2)]:
        assert compare(store, a, b, "--tolerance", tolerance) == 1
        said = capsys.readouterr().out
        assert "paddle: the same bits on all 9 epochs\n" in said
        assert "new: run 1 lacks it\n" in said


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (1, 1, "run 1 compared with itself says nothing"),
        (1, 2, "runs 1 and 2 cannot be compared: their parameters differ (x0, x1, x2, bias; x0, x1, bias)"),
        (1, 3, "runs 1 and 3 have no epoch in common"),
        (3, 4, "runs 3 and 4 have no epoch in common"),
        (1, 9, "there is no run 9"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    store: Store, capsys: Output, a: int, b: int, message: str
) -> None:
    add(store, paddle=history())
    add(store, 2, paddle=history(5, 2))
    add(store)
    add(store)
    assert compare(store, a, b) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert list(store.verdicts(a)) == []


def other_data() -> DatasetRow:
    row = dataset_row(3, "other.csv")
    row.sha256 = "1" * 64
    return row


def other_target() -> DatasetRow:
    row = dataset_row(3, "made3.csv")
    row.target = "z"
    return row


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"seed": 1}, [("seed", "0", "1")]),
        ({"learning_rate": 0.2}, [("learning rate", "0.1", "0.2")]),
        ({"epochs": 1234}, [("epochs", "9", "1,234")]),
        (
            {"dataset": other_data},
            [("data", f"made3.csv (sha256 {'0' * 12})", f"other.csv (sha256 {'1' * 12})")],
        ),
        ({"dataset": other_target}, [("target", "y", "z")]),
        ({"epochs": 8, "seed": 2}, [("epochs", "9", "8"), ("seed", "0", "2")]),
    ],
)
def test_what_differs_in_the_specification_is_said_first_and_is_no_drift(
    store: Store, capsys: Output, settings: dict[str, Any], told: list[tuple[str, str, str]]
) -> None:
    if "dataset" in settings:
        settings = {"dataset": settings["dataset"]()}
    add(store, paddle=history(9))
    add(store, settings=settings, paddle=history(9, seed=1))
    assert compare(store, 2, 1) == 1
    first, *rows, last = capsys.readouterr().out.splitlines()
    assert first.split() == ["specification", "before", "now"]
    for line, row in zip(rows, told, strict=False):
        assert " ".join(line.split()) == " ".join(row)
    assert last == "drift: not judged: runs 2 and 1 differ, and so do their specifications"
    assert compare(store, 2, 1, "--tolerance", 100) == 0  # the histories are near
    assert compare(store, 2, 1, "--json") == 1
    _, brace, rest = capsys.readouterr().out.partition("{")
    record = json.loads(brace + rest)
    words = "; ".join(f"{what} {now}, was {before}" for what, before, now in told)
    assert f"against run 1: specification: {words}; paddle: first differing epoch 0" in record["detail"]
    names = ("what", "before", "now")
    assert record["specification_changes"] == [dict(zip(names, row, strict=True)) for row in told]
    assert list(store.verdicts(2)) == []


def test_runs_of_one_specification_have_no_line_on_it(store: Store, capsys: Output) -> None:
    for seed in (0, 1):
        add(store, paddle=history(9, seed=seed))
    assert compare(store, 1, 2) == 1
    assert "specification" not in capsys.readouterr().out
    assert len(store.verdicts(1)) == 1


def test_the_first_differing_epoch_of_all_models_is_stored(store: Store) -> None:
    late, early = history(9), history(9, seed=1)
    late.parameters[7, -1], early.parameters[2, -1] = 9, 9
    early.parameters[1, -1] += 0.5
    add(store, paddle=history(9), python=history(9, seed=1))
    add(store, paddle=late, python=early)
    assert compare(store, 1, 2) == 1
    assert compare(store, 1, 2, "--tolerance", 1) == 1
    assert [verdict.first_epoch for verdict in store.verdicts(1)] == [1, 2]
    assert [verdict.tolerance for verdict in store.verdicts(1)] == [0, 1]


def test_the_worst_gap_of_all_models_is_stored(store: Store) -> None:
    small, large = history(9), history(9, seed=1)
    small.parameters[7, -1] += 1
    large.parameters[2, -1] += 100
    add(store, a=history(9), b=history(9, seed=1), c=history(9))
    add(store, a=small, b=large, c=history(9))
    assert compare(store, 1, 2) == 1
    assert store.verdicts(1)[0].worst == pytest.approx(100, rel=1e-5)


def test_the_first_run_may_be_the_one_that_lacks_epochs(store: Store, capsys: Output) -> None:
    add(store, paddle=history(9))
    add(store, paddle=history(9)[:5])
    assert compare(store, 2, 1) == 1
    assert "run 2 lacks 4 epochs, the first of them 5" in capsys.readouterr().out


def test_the_same_verdict_is_stored_once(store: Store) -> None:
    add(store, paddle=history(9))
    add(store, paddle=history(9, seed=1))
    for options, count in [((), 1), ((), 1), (("--tolerance", 99), 2), (("--tolerance", 99), 2), ((), 3)]:
        compare(store, 1, 2, *options)
        assert len(store.verdicts(1)) == count
    assert compare(store, 2, 1) == 1
    assert len(store.verdicts(2)) == 1


def test_the_environment_is_told_with_what_it_was_in_the_other(store: Store, capsys: Output) -> None:
    for cpu in ("new", "old"):
        add(store, settings={"environment": {"cpu": cpu}}, paddle=history(9))
    assert compare(store, 1, 2) == 0
    said = capsys.readouterr().out
    assert "environment  before  now\ncpu          old     new\n" in said
    assert "tolerance" not in said
    assert compare(store, 1, 2, "--tolerance", 0.25) == 0
    said = capsys.readouterr().out
    assert "tolerance 0.25\n" in said
    assert "runs 1 and 2 are the same to 0.25" in said


def test_a_verdict_names_eight_changes_and_the_table_all(store: Store, capsys: Output) -> None:
    for version in ("1.0", "2.0"):
        packages = {f"package-{i:02}": version for i in range(20)}
        add(store, settings={"environment": {"packages": packages}}, paddle=history(9))
    assert compare(store, 2, 1) == 0
    detail = store.verdicts(2)[-1].detail
    assert detail.count("package-") == 8
    assert detail.endswith("packages package-07 2.0, was 1.0; 12 more")
    assert capsys.readouterr().out.count("package-") == 20


def test_a_thinned_run_is_compared_with_none(store: Store, capsys: Output) -> None:
    for _ in range(2):
        add(store, paddle=history(9))
    execute(store, "UPDATE runs SET thinned_every = 2 WHERE id = 1")
    for a, b in ((1, 2), (2, 1)):
        assert compare(store, a, b) == 2
        assert "run 1 is downsampled to every 2th epoch" in capsys.readouterr().err


def test_the_json_has_every_difference_as_a_field(store: Store, capsys: Output) -> None:
    other = history(9)
    other.test_loss[3] = np.nextafter(other.test_loss[3], np.float32(9))
    other.test_loss[5] += 0.5
    add(store, settings={"environment": {"packages": {"numpy": "1"}}}, a=history(9), b=history(9))
    environment = {"packages": {"numpy": "2"}, "cpu": "new"}
    add(store, settings={"environment": environment}, a=other, b=history(9)[:7])
    assert compare(store, 2, 1, "--json") == 1
    record = json.loads(capsys.readouterr().out)
    units = abs(
        int(other.test_loss[5:6].view(np.int32)[0]) - int(history(9).test_loss[5:6].view(np.int32)[0])
    )
    assert record["differences"] == [
        {
            "model": "a",
            "epochs": 9,
            "first_epoch": 3,
            "largest_gap": float(other.test_loss[5]) - float(history(9).test_loss[5]),
            "value": "test loss",
            "epoch": 5,
            "units_in_the_last_place": units,
            "missing": None,
        },
        {
            "model": "b",
            "epochs": 7,
            "first_epoch": None,
            "largest_gap": 0.0,
            "value": None,
            "epoch": None,
            "units_in_the_last_place": 0,
            "missing": "run 2 lacks 2 epochs, the first of them 7",
        },
    ]
    assert record["environment_changes"] == [
        {"what": "cpu", "before": "absent", "now": "new"},
        {"what": "packages numpy", "before": "1", "now": "2"},
    ]
    assert (record["lacking"], record["specification_changes"]) == ([], [])
    assert (record["kind"], record["passed"]) == ("drift", False)
    assert compare(store, 2, 1) == 1
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["b", "none"] in rows
    assert ["packages", "numpy", "1", "2"] in rows


def test_long_changes_fit_and_hashes_are_cut(
    store: Store, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    for letter in "ab":
        environment = {"git": {"commit": letter * 40}, "platform": f"Linux-{letter}-" + "x" * 40}
        add(store, settings={"environment": environment}, paddle=history(9))
    assert compare(store, 2, 1) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 60 for line in lines)
    assert [line.split() for line in lines[1:6]] == [
        ["environment", "before", "now"],
        ["git", "commit", "a" * 12, "b" * 12],
        ["platform", "Linux-a-" + "x" * 14, "Linux-b-" + "x" * 15],
        ["x" * 22, "x" * 23],
        ["x" * 4, "x" * 2],
    ]
