"""What VisualDL's server reads: whole records of the shown runs, while logs grow or are redrawn."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.history import History
from job.mirror import reader, records
from job.mirror.files import ALL, CHART, FEWEST, Shown
from tests.samples import history, run_row

LOSS = "loss/train"


def write_log(path: Path, stored: History) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = records.head(run_row(), path.parent.name) + records.epoch_records(stored)
    path.write_bytes(content)
    return content


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Of 40 epochs; the current directory is its log directory."""
    path = tmp_path / "1" / "python" / "vdlrecords.main.log"
    write_log(path, history(40))
    return path


@pytest.fixture
def logs(log: Path) -> reader.Logs:
    found = reader.Logs(ALL, 0)
    assert found.runs() == ["1/python"]
    return found


def steps(logs: reader.Logs) -> list[int]:
    try:
        return [step for _, step, _ in reader.get_scalar(logs, "1/python", LOSS)]
    except KeyError:
        return []


def test_the_page_gets_the_stored_numbers(logs: reader.Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "AT_A_TIME", 1000)
    stored = history(40)
    moments = np.round(stored.trained_at * 1000).astype(int).tolist()
    points = list(zip(moments, stored.epoch.tolist(), stored.test_loss.tolist(), strict=True))
    assert reader.get_scalar(logs, "1/python", "loss/test") == [list(point) for point in points]
    drawn = logs.get_log_data("scalar", "1/python", "loss%test")
    assert drawn == [[step, "loss/test", moment, loss] for moment, step, loss in points]
    histograms = logs.get_reservoir("histogram").get_items("1/python", "weights")
    counts, _ = records.histograms(stored.parameters)
    assert [list(value.histogram.hist) for value in histograms] == counts.tolist()


def test_some_of_very_many_histograms_are_shown_and_the_newest(
    log: Path, logs: reader.Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "HISTOGRAMS", 4)
    shown = [value.id for value in logs.get_reservoir("histogram").get_items("1/python", "weights")]
    assert shown == [0, 13, 26, 39]


def test_a_curve_can_be_the_first_request(log: Path) -> None:
    assert len(steps(reader.Logs(ALL, 0))) == 40


def test_what_is_no_number_is_text(log: Path, logs: reader.Logs) -> None:
    stored = history(3)
    stored.train_loss[:] = np.nan, np.inf, 1.0
    write_log(log, stored)
    assert [value for *_, value in reader.get_scalar(logs, "1/python", LOSS)] == ["nan", "inf", 1.0]


def test_a_log_is_read_by_whole_records_while_it_grows(
    log: Path, logs: reader.Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It grows by a byte, and by pieces shorter than a record; then it is cut, and grows again."""
    monkeypatch.setattr(reader, "AT_A_TIME", 7)
    content = write_log(log, history(3))
    begins = [0, *(end for end, *_ in records.values(content))]
    ends = [begins[i] for i in range(3, len(begins), 3)]  # of the records of the train losses
    for size in [*range(len(content) - 3), begins[-2] + 1, begins[-2], len(content)]:
        with log.open("r+b") as file:
            file.write(content[:size])
            file.truncate(size)
        assert steps(logs) == list(range(sum(end <= size for end in ends)))


def test_a_log_whose_first_epochs_come_later_gets_its_tags_then(log: Path, logs: reader.Logs) -> None:
    content = write_log(log, history(2))
    head = len(records.head(run_row(), "python"))
    log.write_bytes(content[:head])
    assert logs.get_reservoir("scalar").keys == []
    log.write_bytes(content)
    assert logs.get_reservoir("scalar").keys == ["1/python/loss%train", "1/python/loss%test"]


def test_a_redrawn_log_is_read_anew_and_of_a_removed_one_nothing_is_left(
    log: Path, logs: reader.Logs
) -> None:
    assert len(steps(logs)) == 40
    new = log.with_name("new.log")
    write_log(new, history(50, first_epoch=100))
    new.replace(log)
    assert steps(logs) == list(range(100, 150))
    write_log(log, history(3))  # the same file, shorter
    assert steps(logs) == [0, 1, 2]
    log.unlink()
    assert steps(logs) == []
    assert logs.runs() == []


@pytest.mark.thorough
@given(st.lists(st.floats(width=32), min_size=9, max_size=60), st.integers(min_value=10, max_value=20))
def test_a_sample_has_the_newest_point_and_the_extremes(losses: list[float], most: int) -> None:
    log = reader.Log(Path())
    log.read = lambda **_: None  # type: ignore[method-assign]
    steps, moments, values = log.scalar[LOSS]
    steps.extend(range(len(losses)))
    moments.extend([10**12] * len(losses))
    values.extend(losses)
    logs = reader.Logs(ALL, most)
    logs.logs = {"1/python": log}
    points = reader.get_scalar(logs, "1/python", LOSS)
    sampled = [float(value) for *_, value in points]
    assert min(most - 2, len(losses)) <= len(points) <= most
    assert points[-1][1] == len(losses) - 1
    assert [step for _, step, _ in points] == sorted({step for _, step, _ in points})
    assert str(sampled) == str([losses[step] for _, step, _ in points])
    numbers = [loss for loss in losses if not np.isnan(loss)]
    assert not numbers or {min(numbers), max(numbers)} <= set(sampled)


def test_curves_share_the_points_of_a_chart(logs: reader.Logs) -> None:
    logs.points = None
    assert logs.most_points() == CHART
    logs.logs = dict.fromkeys(map(str, range(40)))  # type: ignore[assignment]
    assert logs.most_points() == CHART // 40
    logs.logs = dict.fromkeys(map(str, range(1000)))  # type: ignore[assignment]
    assert logs.most_points() == FEWEST


@given(st.sets(st.integers(1, 50)), st.integers(0, 20), st.sets(st.integers(1, 50), max_size=5))
def test_the_newest_are_shown_or_the_named_or_all(runs: set[int], newest: int, named: set[int]) -> None:
    shown = Shown(newest, tuple(named)).of(runs)
    assert shown == sorted(shown)
    if named:
        assert set(shown) == runs & named
    else:
        assert len(shown) == min(newest or len(runs), len(runs))
        assert all(run <= min(shown) for run in runs - set(shown))


def test_runs_stand_in_the_order_of_their_numbers_and_only_logs_are_shown(tmp_path: Path) -> None:
    log = records.head(run_row(), "paddle")
    for name in ("10/python", "9/paddle", "10/paddle", "mine/2", "100/paddle"):
        directory = tmp_path / name
        directory.mkdir(parents=True)
        (directory / "vdlrecords.main.log").write_bytes(log)
    (tmp_path / "9" / "paddle" / "vdlrecords.zzz.log").write_bytes(log)
    (tmp_path / "mine" / "2" / "vdlrecords.main.log").rename(tmp_path / "mine" / "2" / "vdlrecords.1.log")
    (tmp_path / "10" / "python" / "vdlrecords.tmp").write_bytes(b"no log at all")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "vdlrecords.main.log").write_bytes(log[:20])
    os.mkfifo(tmp_path / "none" / "vdlrecords.pipe")
    everything = ["mine/2", "9/paddle", "10/paddle", "10/python", "100/paddle"]
    logs = reader.Logs(ALL, 0)
    assert logs.runs() == everything
    assert logs.logs["9/paddle"].path.name == "vdlrecords.main.log"
    assert reader.Logs(Shown(newest=2), 0).runs() == everything[2:]
    assert reader.Logs(Shown(named=(9, 8)), 0).runs() == ["9/paddle"]
