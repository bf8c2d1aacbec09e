"""`job step`: one epoch of each model, replayed and taken apart."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from db.schema import RunRow
from job.cli.options import DEFAULT_DATABASE, MOST_EPOCHS, AsJson, DatabaseUrl, Run, RunData, open_store
from job.cli.output import Gap, Number, Short, print_json, print_line, print_table, print_text
from job.cli.summary import MOST_PARAMETERS
from job.replay.state import prepare
from job.replay.step import BEFORE, Difference, Stepped
from job.replay.step import step as replayed
from job.verdicts.gap import TOLERANCE

MOST_VALUES = 20
"""values of an operation that are shown one by one"""
MANY_UNITS = 1000
WHY = (
    "Either the environment is not that of the run (`job audit` compares them), or stored values, settings "
    "or models were changed, or a model keeps state outside its parameters (`job models check` finds that)."
)


def step(
    run: Run,
    epoch: Annotated[int, typer.Argument(metavar="EPOCH", min=0, max=MOST_EPOCHS, help="Counted from 0.")],
    data: RunData = None,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> int:
    """Replay one epoch, and show every value that each model computes in it.

    The models start from the stored epoch before. Each further model is compared with the first: with its
    own values, and with the first one's, which shows the operations that differ by themselves. Exit status 1
    if an epoch does not have the stored bits, or a model's trace is not what it trains.
    """
    with open_store(database_url) as store:
        found = store.run(run)
        steps = replayed(prepare(store, found, data), epoch)
    if as_json:
        print_json(record(found, epoch, steps))
    else:
        print_steps(found, epoch, steps)
    return 1 if any(each.unlike or each.trace_unlike for each in steps) else 0


def print_steps(run: RunRow, epoch: int, steps: list[Stepped]) -> None:
    """Print an epoch's values, the comparison of the models, and whether the bits are the stored ones."""
    begins = f"the stored epoch {epoch - 1:,}" if epoch else f"the start of seed {run.seed}"
    print_line(f"Run {run.id}, epoch {epoch:,}, from {begins}", style="bold")
    print_line(f"learning rate {run.learning_rate:g}, r = {run.dataset.train_rows:,} training rows")
    for each in steps:
        print_line("")
        if each.trace_unlike:  # so the values printed next are not the epoch's
            print_text(
                f"{each.model}: FAILED: its trace is not what it trains: {each.trace_unlike}",
                style="bold red",
            )
        print_values(each)
        print_line("")
        print_parameters(run, each, steps[0])
    for each in steps[1:]:
        print_line("")
        print_differences(each, steps[0].model)
    print_line("")
    for each in steps:
        if each.unlike:
            print_text(
                f"{each.model}: FAILED: the replay does not have the stored bits: {each.unlike}",
                style="bold red",
            )
        else:
            print_line(f"{each.model}: the replay has the stored bits", style="green")
    if any(each.unlike for each in steps):
        print_text(WHY)


def print_values(each: Stepped) -> None:
    """Print the table of a model's operations, and the few values of what has few."""
    rows: list[tuple[object, ...]] = []
    for name, value in each.trace.items():
        shape = " x ".join(map(str, value.shape)) or "1"
        if value.size == 1:
            rows.append((name, shape, None, None, Number(value.item())))
        else:
            rows.append((name, shape, *map(Short, (value.min(), value.max(), mean(value)))))
    print_table(["operation", "shape", "smallest", "largest", "mean, or value"], rows, title=each.model)
    for name, value in each.trace.items():
        beside = name == "parameters" or (name.startswith("gradient") and each.gradient is not None)
        if 1 < value.size <= MOST_VALUES and not beside:
            print_text(f"{name}: " + ", ".join(str(Number(item)) for item in value.ravel().tolist()))


def print_parameters(run: RunRow, each: Stepped, first: Stepped) -> None:
    """Print each parameter before and after the update; of very many the largest of the first model."""
    names, title = run.parameter_names, f"{each.model}: old + update = new"
    shown = list(range(len(names)))
    if len(names) > MOST_PARAMETERS:
        shown = sorted(np.argsort(-np.abs(first.after))[:MOST_PARAMETERS].tolist())
        title = f"{title}, the {len(shown)} largest of {len(names):,} parameters"
    columns = {name: values for name, values in parameter_columns(each).items() if values is not None}
    kinds = [Number if column in ("old", "new") else Short for column in columns]
    rows = [
        [names[i], *(kind(values[i]) for kind, values in zip(kinds, columns.values(), strict=True))]
        for i in shown
    ]
    print_table(["parameter", *columns], rows, title=title)


def parameter_columns(each: Stepped) -> dict[str, NDArray[Any] | None]:
    """What is shown of each parameter, each [p]: the update is float64."""
    update = each.after.astype(np.float64) - each.before.parameters
    return {"old": each.before.parameters, "gradient": each.gradient, "update": update, "new": each.after}


def print_differences(each: Stepped, first: str) -> None:
    """Print where a model differs from the first one, on its own values and on the first one's."""
    crosswise = {difference.operation: difference for difference in each.crosswise or ()}
    rows = []
    for own in each.own:
        row: list[object] = [own.operation, *figures(own)]
        if crosswise:
            on_first = crosswise.get(own.operation)
            row[-1:] = figures(on_first) if on_first else [None] * 3
        rows.append(row)
    on_first_columns = [f"{first}'s values", "gap"] if crosswise else []
    columns = ["operation", "own values", "gap", *on_first_columns, "units"]
    title = f"{each.model} against {first}: differing values, largest gap, units in the last place"
    print_text(title, style="bold")
    if crosswise:
        print_text(f"Left, each model goes on with its own values; right, {each.model} gets {first}'s.")
    print_table(columns, rows)
    print_line("")
    print_text(" ".join(sentences(each, first)))


def sentences(each: Stepped, first: str) -> list[str]:
    """Where two models part, and which operations differ by themselves."""
    parted = next((difference for difference in each.own if difference.differs), None)
    if parted is None:
        said = [f"{each.model} has the bits of {first} in every operation."]
    else:
        said = [f"{each.model} first differs from {first} in: {parted.operation}, {described(parted)}."]
    if each.crosswise is None:
        return [
            *said,
            f"The trace of {each.model} cannot take {first}'s values, so this does not show which operations "
            "differ by themselves.",
        ]
    differing = [difference.operation for difference in each.crosswise if difference.differs]
    if not differing:
        return [*said, f"On {first}'s values every operation has the same bits."]
    said.append(f"On {first}'s values, these operations differ by themselves: {', '.join(differing)}.")
    if any(found.differs and found.operation not in (BEFORE, *differing) for found in each.own):
        said.append("The others only pass on the differences of those before them.")
    return said


def described(difference: Difference) -> str:
    """A difference in a few words."""
    if not difference.differing:
        return f"only in the type: {difference.types}"
    types = f", {difference.types}" if difference.types else ""
    many = "unit" if difference.ulps == 1 else "units"
    tiny = difference.ulps >= MANY_UNITS and difference.gap <= TOLERANCE
    near_zero = ", which are tiny near zero" if tiny else ""
    return (
        f"{difference.differing:,} of {difference.values:,} values, largest gap {difference.gap:.2g}, up to "
        f"{difference.ulps:,} {many} in the last place{near_zero}{types}"
    )


class Units(int):
    """A number of units in the last place; short if it is large."""

    def __str__(self) -> str:
        return f"{int(self):,}" if self < 100_000 else f"{int(self):.0e}"


def figures(difference: Difference) -> list[object]:
    """How many values differ, with the model's type if it is another one (`f64`), the gap, and the units."""
    kind = difference.types.partition(",")[0].replace("float", "f")
    if not difference.differing:
        return [kind or "none", None, None]
    of = f"/{difference.values:,} {kind}" if kind else f" of {difference.values:,}"
    return [f"{difference.differing:,}{of}", Gap(difference.gap), Units(difference.ulps)]


def mean(value: NDArray[Any]) -> float:
    """The mean, computed in float64."""
    return float(value.mean(dtype=np.float64))


def record(run: RunRow, epoch: int, steps: list[Stepped]) -> dict[str, Any]:
    """The whole answer as JSON has it; a number that is not finite is null."""
    return {
        "run": run.id,
        "epoch": epoch,
        "learning_rate": run.learning_rate,
        "seed": run.seed,
        "models": [model_record(run, each, steps[0]) for each in steps],
    }


def model_record(run: RunRow, each: Stepped, first: Stepped) -> dict[str, Any]:
    """One model's epoch as JSON has it."""
    columns = parameter_columns(each)
    return {
        "model": each.model,
        "same_bits": not each.unlike,
        "unlike": each.unlike or None,
        "trace_unlike": each.trace_unlike or None,
        "operations": [
            {
                "operation": name,
                "shape": list(value.shape),
                "dtype": str(value.dtype),
                "smallest": finite(value.min()),
                "largest": finite(value.max()),
                "mean": finite(mean(value)),
                "values": [finite(item) for item in value.ravel()] if value.size <= MOST_VALUES else None,
            }
            for name, value in each.trace.items()
        ],
        "parameters": [
            {"parameter": name} | {k: None if v is None else finite(v[i]) for k, v in columns.items()}
            for i, name in enumerate(run.parameter_names)
        ],
        "against": None
        if each is first
        else {
            "model": first.model,
            "own": [difference_record(found) for found in each.own],
            "on_its_values": None
            if each.crosswise is None
            else [difference_record(d) for d in each.crosswise],
        },
    }


def difference_record(found: Difference) -> dict[str, Any]:
    """A difference as JSON has it."""
    return {
        "operation": found.operation,
        "values": found.values,
        "differing": found.differing,
        "gap": finite(found.gap),
        "units": found.ulps,
        "types": found.types or None,
    }


def finite(value: float) -> float | None:
    """The number, or None if it is not finite."""
    return float(value) if math.isfinite(value) else None
