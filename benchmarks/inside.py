"""One training without start-up, in its own process: `python -m benchmarks.inside STORE ...`.

Prints JSON: the seconds of the training alone, the microseconds of these per stored value, and the peak
memory of the process in MB. STORE is a URL. With `--beside-bare`, each stored block is followed by as many
epochs of the model alone, whose seconds are printed as `bare` and not counted elsewhere: if a machine's speed
changes within seconds, only adjacent measurements can be compared.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from dataclasses import replace

from job.pins import pin

pin()

import numpy as np  # noqa: E402

from db.history import History  # noqa: E402
from db.lease import RunWriter  # noqa: E402
from db.store import Store  # noqa: E402
from job.data.dataset import DEFAULT_DATA, Dataset, load  # noqa: E402
from job.models.base import LinearRegression  # noqa: E402
from job.models.loading import load_models  # noqa: E402
from job.stop import StopRequest  # noqa: E402
from job.training import Settings, start, train_run  # noqa: E402


def made_dataset(features: int) -> Dataset:
    """Random rows of `features` features, already normalised, as many as the housing table has."""
    housing = load(DEFAULT_DATA)
    random, ends = np.random.RandomState(0), np.ones(features + 1)
    train_x, test_x = (
        np.asarray(random.randn(len(rows), features) / np.sqrt(features), np.float32)
        for rows in (housing.train_x, housing.test_x)
    )
    return replace(
        housing,
        features=tuple(f"x{i}" for i in range(features)),
        train_x=train_x,
        test_x=test_x,
        minimum=-ends,
        maximum=ends,
        mean=0 * ends,
    )


class Timed(RunWriter):
    """A writer that measures the time it takes."""

    seconds = 0.0

    def append(self, model: str, history: History) -> None:
        """Store consecutive epochs of a model."""
        begun = time.perf_counter()
        super().append(model, history)
        self.seconds += time.perf_counter() - begun


class Beside:
    """The models alone as a training's report: after each stored block, as many epochs that nobody keeps."""

    def __init__(self, dataset: Dataset) -> None:
        start = LinearRegression.initial(dataset, 0)
        self.models = {name: model(dataset, 0.01, 0, start) for name, model in load_models().items()}
        self.seconds = 0.0

    def __call__(self, model: str, history: History) -> None:
        """Train a model for as many epochs as its block has."""
        begun = time.perf_counter()
        self.models[model].advance(len(history))
        self.seconds += time.perf_counter() - begun


def main() -> None:
    """Train once and print what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("store")
    parser.add_argument("--epochs", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=0, help="of made-up data; 0: the housing table")
    parser.add_argument("--beside-bare", action="store_true")
    options = parser.parse_args()
    load_models()
    dataset = made_dataset(options.features) if options.features else load(DEFAULT_DATA)
    beside = Beside(dataset)
    for model in beside.models.values():
        model.advance(200)  # warm
    with Store(options.store, create=True) as store:
        lease = start(store, Settings(dataset, options.epochs))
        writer = Timed(store, lease.run_id, lease.token)
        on_block = beside if options.beside_bare else lambda model, history: None
        begun = time.perf_counter()
        outcome = train_run(writer, dataset, on_block, StopRequest())
        seconds = time.perf_counter() - begun - beside.seconds
        assert outcome.status == "completed", outcome
    said = {
        "seconds": seconds,
        "bare": beside.seconds,
        "microseconds": writer.seconds / (2 * options.epochs * (len(dataset.features) + 4)) * 1e6,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
