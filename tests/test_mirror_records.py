"""The mirror's records equal VisualDL's in every value, and a torn log is detected wherever it is torn."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from db.history import Float32s
from job.mirror import records
from tests.samples import history, run_row
from tests.visualdl_logs import assert_drawn, read_log

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


def test_visualdl_reads_back_every_value(tmp_path: Path) -> None:
    stored = history(50, features=13)
    log = tmp_path / "vdlrecords.main.log"
    log.write_bytes(records.head(run_row(), "paddle") + records.epoch_records(stored, slice(-1)))
    assert_drawn(log, stored)


def test_the_hyper_parameters_name_the_run_and_its_losses(tmp_path: Path) -> None:
    from visualdl import LogReader

    log = tmp_path / "vdlrecords.main.log"
    log.write_bytes(records.head(run_row(epochs=7, seed=2**32 - 1), "paddle"))
    (found,) = LogReader(file_path=str(log)).get_data("hyper_parameters", "hparam")
    settings = {p.name: getattr(p, p.WhichOneof("type")) for p in found.hparam.hparamInfos}
    assert settings == {
        "epochs": 7,
        "learning_rate": 0.1,
        "seed": 2**32 - 1,
        "dataset": "made.csv",
        "target": "y",
    }
    assert [metric.name for metric in found.hparam.metricInfos] == ["loss/train", "loss/test"]


@pytest.mark.thorough
@given(arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 15)), elements=finite))
def test_histograms_are_numpys(weights: Float32s) -> None:
    counts, edges = records.histograms(weights)
    for row, count, edge in zip(weights.astype(np.float64), counts, edges, strict=True):
        assert count.sum() == len(row)
        if row.min() < row.max():
            expected, expected_edges = np.histogram(row, bins=len(row))
            assert count.tolist() == expected.tolist()
            assert edge.tolist() == expected_edges.tolist()


@pytest.mark.parametrize("value", [0.0, 0.1, -3e38, 1e-45])
def test_equal_weights_have_a_histogram_too(value: float) -> None:
    counts, edges = records.histograms(np.full((1, 5), value, np.float32))
    assert counts.sum() == 5
    assert (np.diff(edges[0]) > 0).all()


def test_a_log_torn_at_any_byte_is_good_up_to_its_last_whole_epoch() -> None:
    head = records.head(run_row(), "paddle")
    ends = [len(head)] + [len(head) + len(records.epoch_records(history(n))) for n in (1, 2, 3)]
    content = head + records.epoch_records(history(3))
    for size in range(len(head), len(content) + 1):
        whole = sum(end <= size for end in ends) - 1
        assert records.read(content[:size], head) == (whole, ends[whole])


@pytest.mark.parametrize("size", [0, 5, 30])
def test_a_log_torn_in_its_head_is_not_gone_on_with(size: int) -> None:
    head = records.head(run_row(), "paddle")
    assert not records.read(head[:size], head)


def test_a_head_tells_the_run_and_when_it_was_created() -> None:
    meta, parameters = (value for *_, value in records.values(records.head(run_row(), "paddle")))
    assert (parameters.hparam.name, parameters.timestamp) == ("1/paddle", 1_767_323_045_678)
    assert meta.timestamp == 1_767_323_045_678


def test_another_runs_log_is_not_taken_for_this_ones() -> None:
    head = records.head(run_row(epochs=7), "paddle")
    for other in (records.head(run_row(epochs=8), "paddle"), records.head(run_row(epochs=7), "python")):
        assert not records.read(other + records.epoch_records(history(3)), head)


@pytest.mark.parametrize(
    "epochs",
    [
        history(3)[1:],
        type(history(1)).concatenate([history(2), history(2)]),
        type(history(1)).concatenate([history(4)[:2], history(4)[3:]]),
    ],
    ids=["first missing", "doubled", "gap"],
)
def test_steps_that_are_missing_or_doubled_are_noticed(epochs: object) -> None:
    head = records.head(run_row(), "paddle")
    assert not records.read(head + records.epoch_records(epochs), head)  # type: ignore[arg-type]


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 0, 2), (0, 2, 1)])
def test_records_of_an_epoch_that_are_out_of_order_are_noticed(order: tuple[int, ...]) -> None:
    head, content = records.head(run_row(), "paddle"), records.epoch_records(history(1))
    ends = [0, *(end for end, *_ in records.values(content))]
    parts = [content[begin:end] for begin, end in pairwise(ends)]
    assert records.read(head + b"".join(parts), head)
    assert not records.read(head + b"".join(parts[i] for i in order), head)


def test_garbage_in_the_middle_is_noticed() -> None:
    head = records.head(run_row(), "paddle")
    first, second = records.epoch_records(history(1)), records.epoch_records(history(2)[1:])
    garbage = records.framed(b"\xff" * 20)
    assert not records.read(head + first + garbage + second, head)


def test_a_log_without_epochs_reads_as_empty(tmp_path: Path) -> None:
    log = tmp_path / "vdlrecords.main.log"
    log.write_bytes(records.head(run_row(), "paddle"))
    assert read_log(log) == {"loss/train": [], "loss/test": [], "weights": []}


@pytest.mark.parametrize("bad", [b"\xff\xff", b"", b"\n\0"], ids=["no message", "empty", "without a value"])
def test_what_follows_a_record_that_is_none_is_not_read(bad: bytes) -> None:
    good = records.epoch_records(history(2))
    found = [end for end, *_ in records.values(good)]
    assert len(found) == 6
    assert [end for end, *_ in records.values(good + records.framed(bad) + good)] == found
    assert [end for end, *_ in records.values(good + good[:-1])][: len(found)] == found
