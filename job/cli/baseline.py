"""`job baseline`: the runs that scheduled runs are judged against, and who accepted them."""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import typer

from db.baselines import baseline, baselines
from db.errors import NotFoundError, StoreError
from db.schema import BaselineRow, RunRow
from db.store import Store
from job.cli import group
from job.cli.options import DEFAULT_DATABASE, AsJson, DatabaseUrl, Run, open_store, setting
from job.cli.output import moment, print_json, print_line, print_table, print_text, short
from job.verdicts.baseline import clear_baseline, set_baseline

app = group()


def one_line(text: str) -> str:
    """The words of a text, a blank between two. Raises typer.BadParameter if there are none."""
    if not (words := " ".join(text.split())):
        raise typer.BadParameter("it is empty")
    if any("\ud800" <= letter <= "\udfff" for letter in words):
        raise typer.BadParameter("it is not UTF-8")
    return words


def who(name: str | None) -> str:
    """The name given, or the user's login name. Raises typer.BadParameter if there is neither."""
    try:
        return one_line(getpass.getuser() if name is None else name)
    except (KeyError, OSError):  # a container's user may have no name
        raise typer.BadParameter("your user has no login name; give yours") from None


Reason = Annotated[str, typer.Option("--reason", callback=one_line, help="Why; it is stored.")]
By = Annotated[str, setting("JOB_USER", "Who decides. Default: your login name.", callback=who)]
"""a name, as `who` gives one"""


@app.command("set")
def set_(
    run: Run,
    reason: Reason,
    by: By = None,  # type: ignore[assignment]
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Make a completed run the baseline of its data, target, epochs, learning rate, seed and models.

    Each scheduled run of these settings fails from now on if it has other bits. To accept a drift, set a run
    with the new bits. `job query baselines` lists all decisions, with what each changed.
    """
    with open_store(database_url) as store:
        found = store.run(run)
        row = set_baseline(store, found, reason, by)
    if as_json:
        print_json(record(row, found))
        return
    print_text(f"run {found.id} is the baseline of {specification(found)}")
    if row.former_run_id is not None:
        print_text(f"the former baseline is run {row.former_run_id}: {change(row)}")
        print_text(f"environment: {row.environment_changes}")


@app.command()
def show(database_url: DatabaseUrl = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Show the baselines that are set: who set each, when and why."""
    with open_store(database_url) as store:
        found = baselines(store)
    if as_json:
        print_json([record(row, row.run) for row in found])
    elif not found:
        print_line("no baseline is set; `job baseline set RUN --reason TEXT` sets one")
    else:
        print_table(
            ["run", "digest", "set at", "by", "reason", "of"],
            [
                [
                    row.run_id,
                    short(row.run.models[0].digest),
                    moment(row.set_at),
                    row.set_by,
                    row.reason,
                    specification(row.run),
                ]
                for row in found
            ],
        )


@app.command()
def clear(
    reason: Reason,
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run whose baseline ends, if several are set.")
    ] = None,
    by: By = None,  # type: ignore[assignment]
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """End a baseline: its scheduled runs are then only compared with the night before."""
    with open_store(database_url) as store:
        row = the_one_set(store) if run is None else baseline(store, store.run(run))
        if row is None:
            raise NotFoundError(
                f"the specification of run {run} has no baseline; `job baseline show` lists them"
            )
        cleared = clear_baseline(store, row, reason, by)
    if as_json:
        print_json(record(cleared, row.run))
    else:
        print_text(f"run {row.run_id} is no longer the baseline of {specification(row.run)}")


def the_one_set(store: Store) -> BaselineRow:
    """The only baseline that is set. Raises StoreError if there is none or another."""
    found = baselines(store)
    if not found:
        raise NotFoundError("no baseline is set")
    if len(found) > 1:
        numbers = ", ".join(str(row.run_id) for row in found)
        raise StoreError(f"{len(found)} baselines are set; name the run of one: {numbers}")
    return found[0]


def specification(run: RunRow) -> str:
    """What decides a run's bits, in words."""
    models = ", ".join(model.described for model in run.models)
    settings = f"{run.epochs:,} epochs, learning rate {run.learning_rate:g}, seed {run.seed}"
    return f"{run.dataset.name}, {settings}, {models}"


def change(row: BaselineRow) -> str:
    """How the bits differ from the former baseline's, in words."""
    if row.first_epoch is None:
        return "the same bits"
    gap = "not finite" if row.worst is None else f"{row.worst:.2g}"
    return f"first differing epoch {row.first_epoch:,}, largest gap {gap}"


def record(row: BaselineRow, run: RunRow) -> dict[str, Any]:
    """A row for JSON, with the digests of its run's models."""
    names = ("id", "kind", "run_id", "reason", "set_by", "set_at")
    more = ("former_run_id", "first_epoch", "worst", "environment_changes")
    return {name: getattr(row, name) for name in (*names, *more)} | {"digests": run.digests}
