"""Reads VisualDL logs with VisualDL's own reader, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from visualdl import LogReader

from db.history import History
from db.store import Store
from job.mirror.records import TAGS, TEST, TRAIN, WEIGHTS


def read_log(path: Path) -> dict[str, list[Any]]:
    """The values of each tag of an epoch."""
    reader = LogReader(file_path=str(path))
    tags = reader.get_tags()
    kinds = {TRAIN: "scalar", TEST: "scalar", WEIGHTS: "histogram"}
    return {tag: reader.get_data(kinds[tag], tag) if tag in tags.get(kinds[tag], []) else [] for tag in TAGS}


def log_of(log_dir: Path, run: int, model: str) -> Path:
    return log_dir / str(run) / model / "vdlrecords.main.log"


def steps(path: Path) -> dict[str, list[int]]:
    return {tag: [value.id for value in values] for tag, values in read_log(path).items()}


def assert_drawn(log: Path, stored: History) -> None:
    """The log has every epoch of `stored` once, in order, with all its values, and nothing else."""
    drawn = read_log(log)
    moments = np.round(stored.trained_at * 1000).astype(int).tolist()
    for values in drawn.values():
        assert [value.id for value in values] == stored.epoch.tolist()
        assert [value.timestamp for value in values] == moments
    assert [value.value for value in drawn[TRAIN]] == stored.train_loss.tolist()
    assert [value.value for value in drawn[TEST]] == stored.test_loss.tolist()
    for value, weights in zip(drawn[WEIGHTS], stored.parameters[:, :-1].astype(np.float64), strict=True):
        counts, edges = np.histogram(weights, bins=len(weights))
        assert list(value.histogram.hist) == counts.tolist()
        assert list(value.histogram.bin_edges) == edges.tolist()


def assert_run_drawn(log_dir: Path, store: Store, run: int) -> None:
    """The logs of all models of a run match the store."""
    progress = store.progress(run)
    assert progress
    for model in progress:
        assert_drawn(log_of(log_dir, run, model), store.history(run, model))
