"""The table of what other trackers need for the history of one run: time, bytes, and reading a curve back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import in_turns, number, quartiles
from db.digest import BLOCK_EPOCHS
from db.history import History
from db.lease import RunWriter
from db.store import Store
from job.data.dataset import load

PROGRAM = Path(__file__).parent / "record.py"
NAMES = {
    "csv": "CSV, Python's `csv`, a row an epoch (the floor)",
    "tensorboardx": "tensorboardX, `add_scalar` for each value",
    "dvclive": "DVCLive, `log_metric` for each value, `next_step`",
    "wandb": "W&B offline, `log` of an epoch's values",
    "trackio": "Trackio, `log` of an epoch's values",
    "aim": "Aim, `track` of an epoch's values",
    "mlflow": "MLflow, `log_batch` of 1,000 values",
}
SLOW = 120.0
"""seconds of a first round after which a tracker is not asked for more"""
RIVALS = ("mlflow", "trackio", "aim", "wandb")
"""the trackers that the goals are about"""
GOALS = {"seconds": 0.05, "megabytes": 0.5}
"""the most of the fastest, and of the smallest, of these"""
LONGEST = 900.0
"""seconds after which it is given up"""

Measure = Callable[[], dict[str, Any]]


def values(histories: dict[str, History], names: tuple[str, ...]) -> dict[str, list[float]]:
    """Every curve by its name: of each model the losses and the parameters."""
    return {
        f"{model}/{name}": column.tolist()
        for model, history in histories.items()
        for name, column in zip(
            names, (history.train_loss, history.test_loss, *history.parameters.T), strict=True
        )
    }


def own_store(path: Path, histories: dict[str, History]) -> dict[str, Any]:
    """The same into a new SQLite store of ours, block by block; then one curve read back."""
    url = f"sqlite:///{path}"
    Store(url, create=True).close()
    empty = size(path)
    epochs = max(map(len, histories.values()))
    with Store(url) as store:
        lease: RunWriter = store.start_run(
            load().row(), epochs=epochs, learning_rate=0.01, seed=0, environment={}
        )
        begun = time.perf_counter()
        for start in range(0, epochs, BLOCK_EPOCHS):
            for model, history in histories.items():
                lease.append(model, history[start : start + BLOCK_EPOCHS])
        seconds = time.perf_counter() - begun
    with Store(url) as store:
        begun = time.perf_counter()
        curve = store.history(1, "python").train_loss
        read = time.perf_counter() - begun
    same = curve.tobytes() == histories["python"].train_loss.tobytes()
    return {
        "seconds": seconds,
        "megabytes": (size(path) - empty) / 1e6,
        "read": read,
        "found": "all" if same else "other values",
    }


def size(database: Path) -> int:
    """Bytes of a database and of its companion files."""
    return sum(path.stat().st_size for path in database.parent.glob(f"{database.name}*"))


def peer(name: str, python: Path, dump: Path, new_path: Callable[[], Path]) -> dict[str, Any]:
    """What `record.py` says in the peer's environment, or an `error` in words."""
    if not python.exists():
        return {"error": "not installed"}
    command = [str(python), str(PROGRAM), name, str(dump), str(new_path())]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=dump.parent, check=False, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {LONGEST / 60:.0f} minutes"}
    if done.returncode:
        return {"error": re.sub(r"[|`]", "'", (done.stderr.strip() or "it ended").splitlines()[-1])[:200]}
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def recorders(
    histories: dict[str, History], names: tuple[str, ...], pythons: Path, new_path: Callable[[], Path]
) -> dict[str, Measure]:
    """What measures each tracker, and `ours`. `pythons` is how the names of the environments begin."""
    dump = new_path()
    dump.write_text(json.dumps(values(histories, names)))
    measures: dict[str, Measure] = {"ours": lambda: own_store(new_path(), histories)}
    for name in NAMES:
        python = Path(sys.executable if name == "csv" else f"{pythons}-{name}/bin/python").absolute()
        measures[name] = partial(peer, name, python, dump, new_path)
    return measures


def rows(measures: dict[str, Measure], rounds: int) -> Iterator[str]:
    """The lines of the table. Slow trackers have one round, the others take turns in all."""
    first = {name: measure() for name, measure in measures.items()}
    quick = [name for name, said in first.items() if said.get("seconds", SLOW) < SLOW]
    later = dict(zip(quick, in_turns(rounds - 1, *(measures[name] for name in quick)), strict=True))
    found = {name: [said, *later.get(name, [])] for name, said in first.items()}
    ours = found["ours"]
    yield "| recorded by | time | size | ours / theirs: time | size | reading a curve | read back | rounds |"
    yield "|---|---|---|---|---|---|---|---|"
    yield row("this store, SQLite, block by block", ours, ours)
    for name, title in NAMES.items():
        yield row(title, found[name], ours)
    yield ""
    yield from (judged(found, key) for key in GOALS)


def judged(found: dict[str, list[dict[str, Any]]], key: str) -> str:
    """A goal and what is measured, by medians, beside the floor's."""
    medians = {
        name: float(np.median([one[key] for one in said])) for name, said in found.items() if key in said[0]
    }
    least = min((name for name in RIVALS if name in medians), key=medians.__getitem__)
    ours, floor = (medians[name] / medians[least] for name in ("ours", "csv"))
    what, goal = {"seconds": "time", "megabytes": "bytes"}[key], GOALS[key]
    name, met = NAMES[least].partition(",")[0], "met" if ours <= goal else "not met"
    return (
        f"* Relative to the {what} of {name} (the smallest of MLflow, Trackio, Aim and W&B), this store "
        f"needs {ours:.3g} and the CSV file {floor:.3g}. The goal, at most {goal:g}, is {met}."
    )


def row(title: str, theirs: list[dict[str, Any]], ours: list[dict[str, Any]]) -> str:
    """One line; ratios are taken within a round."""
    if error := next((said["error"] for said in theirs if "error" in said), None):
        return f"| {title} | {error} | | | | | | |"
    version = theirs[0].get("version")
    cells = [f"{title}" + (f" ({version})" if version else "")]
    pairs = list(zip(ours, theirs, strict=False))
    cells += [
        cell([one["seconds"] for one in theirs], " s"),
        cell([one["megabytes"] for one in theirs], " MB"),
    ]
    cells += [cell([a[key] / b[key] for a, b in pairs]) for key in ("seconds", "megabytes")]
    reads = [one["read"] * 1000 for one in theirs if one["read"] is not None]
    cells += [cell(reads, " ms") if reads else "", theirs[0]["found"], str(len(theirs))]
    return f"| {' | '.join(cells)} |"


def cell(numbers: list[float], unit: str = "") -> str:
    """The median in bold and the quartiles, if there is more than one number."""
    lower, median, upper = map(number, quartiles(np.array(numbers).tolist()))
    return f"**{median}{unit}**" + (f" ({lower} to {upper})" if len(numbers) > 1 else "")
