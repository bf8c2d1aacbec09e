"""Records curves with one tracker and reads one back; runs in the tracker's environment, without our code.

`python record.py TRACKER VALUES.json DIRECTORY` prints JSON: the seconds to record, until all is on the
disk; the megabytes; the seconds to read CURVE back and what came back; the tracker's version. VALUES holds
the curves by name, all of one length. Imports, and making an empty run, come first and are not counted.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

CURVE = "python/train"
Curves = dict[str, list[float]]


def epochs(curves: Curves) -> Iterator[tuple[int, dict[str, float]]]:
    """The values of each epoch by name."""
    for epoch, row in enumerate(zip(*curves.values(), strict=True)):
        yield epoch, dict(zip(curves, row, strict=True))


def csv_rows(curves: Curves, directory: Path) -> tuple[Callable[[], None], Callable[[], list[float]]]:
    """A row an epoch, with nine digits, which give every float32 back."""
    path = directory / "curves.csv"

    def record() -> None:
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", *curves])
            for epoch, row in epochs(curves):
                writer.writerow([epoch, *(f"{value:.9g}" for value in row.values())])

    def read() -> list[float]:
        with path.open(newline="") as file:
            return [float(row[CURVE]) for row in csv.DictReader(file)]

    return record, read


def tensorboardx(curves: Curves, directory: Path) -> tuple[Callable[[], None], Callable[[], list[float]]]:
    """`add_scalar` takes one value; TensorBoard itself reads the file."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboardX import SummaryWriter

    writer = SummaryWriter(str(directory))

    def record() -> None:
        for epoch, row in epochs(curves):
            for name, value in row.items():
                writer.add_scalar(name, value, epoch)
        writer.close()

    def read() -> list[float]:
        events = EventAccumulator(str(directory), size_guidance={"scalars": 0})
        events.Reload()
        return [event.value for event in events.Scalars(CURVE)]

    return record, read


def dvclive(curves: Curves, directory: Path) -> tuple[Callable[[], None], Callable[[], list[float]]]:
    """`log_metric` takes one value and appends it to the curve's file."""
    from dvclive import Live

    live = Live(str(directory / "live"), save_dvc_exp=False, dvcyaml=None, monitor_system=False)

    def record() -> None:
        for _, row in epochs(curves):
            for name, value in row.items():
                live.log_metric(name, value)
            live.next_step()
        live.end()

    def read() -> list[float]:
        with (directory / "live" / "plots" / "metrics" / f"{CURVE}.tsv").open() as file:
            return [float(row[CURVE.split("/")[-1]]) for row in csv.DictReader(file, delimiter="\t")]

    return record, read


def wandb(curves: Curves, directory: Path) -> tuple[Callable[[], None], None]:
    """`log` takes an epoch's values. Nothing reads an offline run but the upload to a server."""
    import wandb as library

    settings = library.Settings(console="off", x_disable_stats=True)
    run = library.init(mode="offline", dir=str(directory), project="one", settings=settings)

    def record() -> None:
        for epoch, row in epochs(curves):
            run.log(row, step=epoch)
        run.finish()

    return record, None


def trackio(curves: Curves, directory: Path) -> tuple[Callable[[], None], Callable[[], list[float]]]:
    """`log` takes an epoch's values, and stores what has come in half a second at a time."""
    os.environ["TRACKIO_DIR"] = str(directory)
    import trackio as library
    from trackio.sqlite_storage import SQLiteStorage

    library.init("one", name="one", embed=False, auto_log_gpu=False, auto_log_cpu=False)

    def record() -> None:
        for epoch, row in epochs(curves):
            library.log(row, step=epoch)
        library.finish()

    def read() -> list[float]:
        return [point["value"] for point in SQLiteStorage.get_metric_values("one", "one", CURVE)]

    return record, read


def aim(curves: Curves, directory: Path) -> tuple[Callable[[], None], Callable[[], list[float]]]:
    """`track` takes an epoch's values."""
    from aim import Run
    from aim.storage.context import Context

    run = Run(repo=str(directory), system_tracking_interval=None, log_system_params=False)

    def record() -> None:
        for epoch, row in epochs(curves):
            run.track(row, step=epoch)
        run.close()

    def read() -> list[float]:
        stored = Run(run.hash, repo=str(directory))  # opened anew
        _, (values, _, _) = stored.get_metric(CURVE, Context({})).data.items_list()
        return list(values)

    return record, read


def mlflow(curves: Curves, directory: Path) -> tuple[Callable[[], None], Callable[[], list[float]]]:
    """`log_batch` of 1,000 values, the most that MLflow accepts, into SQLite."""
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{directory / 'mlflow.db'}")
    run = client.create_run(client.create_experiment("one")).info.run_id

    def record() -> None:
        now = round(time.time() * 1000)
        metrics = [
            Metric(name, value, now, epoch) for epoch, row in epochs(curves) for name, value in row.items()
        ]
        for start in range(0, len(metrics), 1000):
            client.log_batch(run, metrics=metrics[start : start + 1000])

    def read() -> list[float]:
        return [metric.value for metric in client.get_metric_history(run, CURVE)]

    return record, read


PACKAGES = {"tensorboardx": "tensorboardX", "mlflow": "mlflow-skinny"}


def size(directory: Path) -> int:
    """Bytes of all files under a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def found(curve: list[float], read: list[float]) -> str:
    """What came back, in words."""
    if len(read) != len(curve):
        return f"{len(read):,} of {len(curve):,} values"
    return "all" if array("f", read) == array("f", curve) else "other float32 values"


def main() -> None:
    """Record, read back, print."""
    name, curves, directory = sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
    directory.mkdir()
    record, read = TRACKERS[name](curves, directory)
    empty = size(directory)
    begun = time.perf_counter()
    record()
    seconds = time.perf_counter() - begun
    said: dict[str, Any] = {"seconds": seconds, "megabytes": (size(directory) - empty) / 1e6}
    said |= {"read": None, "found": "nothing reads it without a server"}
    if read:
        begun = time.perf_counter()
        curve = read()
        said |= {"read": time.perf_counter() - begun, "found": found(curves[CURVE], curve)}
    said["version"] = "" if name == "csv" else version(PACKAGES.get(name, name))
    print(json.dumps(said))


TRACKERS: dict[str, Callable[[Curves, Path], Any]] = {
    "csv": csv_rows,
    "tensorboardx": tensorboardx,
    "dvclive": dvclive,
    "wandb": wandb,
    "trackio": trackio,
    "aim": aim,
    "mlflow": mlflow,
}


if __name__ == "__main__":
    main()
