"""The named queries' answers about one run, each as sentences and as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db.query import named_query
from db.schema import RunRow
from db.store import Store
from job.html import cell
from job.named_query import run_named_query

Row = dict[str, Any]
MOST_STRETCHES = 3
"""stretches of a model that the page describes, those with the largest rises"""


@dataclass(frozen=True, slots=True)
class Section:
    """A query's answer, as sentences and as a table."""

    name: str
    question: str
    sentences: list[str]
    columns: tuple[str, ...]
    rows: list[list[str]]
    right: list[bool]
    """for each column whether it holds numbers"""


def sections(store: Store, run: RunRow, data: Path | None = None) -> list[Section]:
    """The answers of the named queries about a run."""
    every = max(1, run.epochs // 10)
    parameters: dict[str, dict[str, Any]] = {"losses": {"every": every}}
    said = []
    for name in SENTENCES:
        if name == "parity" and len(run.models) == 1:
            continue
        found = run_named_query(store, name, run, parameters.get(name), data=data, limit=None)
        columns = list(zip(*found.rows, strict=True)) or [()] * len(found.columns)
        rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
        said.append(
            Section(
                name,
                named_query(name).question,
                sentences_of(name, rows, run),
                found.columns,
                [[cell(value) for value in row] for row in found.rows],
                [any(isinstance(value, int | float) for value in column) for column in columns],
            )
        )
    return said


def sentences_of(name: str, rows: Sequence[Row], run: RunRow) -> list[str]:
    """What the answer of a query says in words."""
    sentences = SENTENCES[name](rows)
    if not run.is_linear_regression:
        return [] if name == "final-parameters" else sentences
    unknown = name == "convergence" and any(row["optimum"] is None for row in rows)
    return sentences + ["The data file is not found, so the optimum is not known."] * unknown


def of_models(rows: Sequence[Row]) -> Iterable[tuple[str, list[Row]]]:
    """Each model with its rows, in their order."""
    own: dict[str, list[Row]] = {}
    for row in rows:
        own.setdefault(row["model"], []).append(row)
    return own.items()


def parity(rows: Sequence[Row]) -> list[str]:
    """Whether the models agree."""
    if not rows:
        return ["No two models have an epoch in common yet."]
    sentences = []
    for model, own in of_models(rows):
        worst, both = own[0], f"{own[0]['against_model']} and {model}"
        if not worst["largest_gap"]:
            sentences.append(f"{both} have the same losses and parameters at every epoch.")
            continue
        first = min(row["first_epoch"] for row in own if row["first_epoch"] is not None)
        sentences.append(
            f"{both} first differ at epoch {first:,}; they are never further apart than "
            f"{worst['largest_gap']:.2g}, in {worst['quantity']} at epoch {worst['epoch']:,}."
        )
    return sentences


def overfitting(rows: Sequence[Row]) -> list[str]:
    """Where the run overfits, and whether it does at its end."""
    said = []
    for model, (*found, last) in of_models(rows):
        largest = sorted(found, key=lambda row: -row["rise"])[:MOST_STRETCHES]
        said += [(model, stretch(row)) for row in found if row in largest]
        if len(found) > len(largest):
            rest = len(found) - len(largest)
            said.append((model, f"{rest:,} more stretch{'es' * (rest > 1)} with a smaller rise."))
        said.append((model, at_the_end(last)))
    return by_models(said)


def stretch(row: Row) -> str:
    """What a stretch in which the test loss rises says."""
    names = f" {listed(row['parameters'])} turn in these epochs." if row["parameters"] else ""
    if row["test_rows"]:
        names += (
            f" Half of the rise comes from {row['rows_for_half']:,} test rows, most of all from the rows "
            f"{listed(row['test_rows'])} of the test set."
        )
    return (
        f"overfitting from epoch {row['from_epoch']:,} to {row['to_epoch']:,}: the test loss rises from "
        f"{row['from_test_loss']:.5g} to {row['to_test_loss']:.5g} (by {percent(row)}) "
        f"while the train loss falls from {row['from_train_loss']:.5g} to {row['to_train_loss']:.5g}.{names}"
    )


def at_the_end(row: Row) -> str:
    """Whether the test loss has risen from its best to the last epoch."""
    if row["from_epoch"] == row["to_epoch"]:
        return (
            f"at the last epoch ({row['to_epoch']:,}) the test loss is the lowest of all, "
            f"{row['to_test_loss']:.5g}: no overfitting at the end."
        )
    return (
        f"the test loss was best at epoch {row['from_epoch']:,} ({row['from_test_loss']:.5g}) and has risen "
        f"by {row['rise']:.2g} ({percent(row)}) up to the last epoch, {row['to_epoch']:,}, "
        f"while the train loss went from {row['from_train_loss']:.5g} to {row['to_train_loss']:.5g}."
    )


def percent(row: Row) -> str:
    """By how much the test loss rises in relation to its value before."""
    value = row["rise_percent"] or 0
    return f"{value:,.0f} %" if value < 1e6 else f"{value:.2g} %"


def by_models(said: Sequence[tuple[str, str]]) -> list[str]:
    """Each text of a model as a sentence that names the models that it is about; each text once."""
    about: dict[str, list[str]] = {}
    for model, text in said:
        about.setdefault(text, []).append(model)
    return [f"{' and '.join(models)}: {text}" for text, models in about.items()]


def convergence(rows: Sequence[Row]) -> list[str]:
    """Whether it has converged."""
    said = []
    for row in rows:
        sentence = (
            f"the train loss came within 1 % of its final {row['final_train_loss']:.5g} at "
            f"epoch {row['within_1_percent']:,} and within 0.1 % at epoch {row['within_0_1_percent']:,}"
        )
        if row["optimum"] is not None:
            sentence += (
                f"; that is {row['above_optimum']:.3g} ({row['above_optimum_percent'] or 0:.3g} %) above the "
                f"least-squares optimum of {row['optimum']:.7f}"
            )
        said.append((row["model"], f"{sentence}."))
    return by_models(said)


def turning_points(rows: Sequence[Row]) -> list[str]:
    """Which parameters change direction, and whether the loss bends there."""
    if not rows:
        return ["No parameter turns round by more than the least distance."]
    said = []
    for model, own in of_models(rows):
        said.append((model, listed([f"{row['parameter']} at {row['epoch']:,}" for row in own]) + "."))
        rising = [row["parameter"] for row in own if row["test_rises_from"] is not None]
        if rising:
            said.append((model, f"{listed(rising)} turn while the test loss rises and the train loss falls."))
        off = [
            abs(row["predicted_epoch"] - row["epoch"]) for row in own if row["predicted_epoch"] is not None
        ]
        if off:
            on_time = f"{off.count(0):,} of them at the very epoch, the others up to {max(off):,} away"
            said.append((model, f"the exact path has {len(off):,} of these turns, {on_time}."))
    sentences = by_models(said)
    if any(row["predicted_epoch"] is not None for row in rows):
        sentences.append(
            "A parameter turns when the faster of two modes that move it in opposite directions has faded; "
            "the table has their half-lives in epochs."
        )
    rates = [
        row["loss_fall_after"] / row["loss_fall_before"]
        for row in rows
        if row["loss_fall_before"] and row["loss_fall_after"] is not None
    ]
    if rates:
        sentences.append(
            f"After a turn the train loss falls {min(rates):.2f} to {max(rates):.2f} times as fast as "
            "before: 1 is no bend at all, and below 0 the loss turned as well."
        )
    return sentences


def final_parameters(rows: Sequence[Row]) -> list[str]:
    """What linear regressions learned."""
    said = []
    for model, own in of_models(rows):
        weights = [row for row in own if row["parameter"] != "bias"]
        up = [row["parameter"] for row in weights if row["sign"] == "+"]
        down = [row["parameter"] for row in weights if row["sign"] == "-"]
        said.append((model, f"the prediction rises with {listed(up)} and falls with {listed(down)}."))
    return by_models(said)


def listed(names: Sequence[object]) -> str:
    """The names with commas, at most 20 of them."""
    rest = f" and {len(names) - 20:,} more" if len(names) > 20 else ""
    return (", ".join(map(str, names[:20])) or "nothing") + rest


def losses(rows: Sequence[Row]) -> list[str]:
    """How the losses changed."""
    said = []
    for model, own in of_models(rows):
        first, last = own[0], own[-1]
        text = (
            f"from epoch {first['epoch']:,} to {last['epoch']:,} the train loss went from "
            f"{first['train_loss']:.5g} to {last['train_loss']:.5g} and the test loss from "
            f"{first['test_loss']:.5g} to {last['test_loss']:.5g}."
        )
        said.append((model, text))
    return by_models(said)


SENTENCES: dict[str, Callable[[Sequence[Row]], list[str]]] = {
    "parity": parity,
    "overfitting": overfitting,
    "convergence": convergence,
    "turning-points": turning_points,
    "final-parameters": final_parameters,
    "losses": losses,
}
"""by query, in the order of the page"""
