"""`job bisect`: which packages or settings changed the bits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from job.bisect import Answer, bisect, open_trials, questions, short
from job.bisect.trials import Trials
from job.cli.options import DEFAULT_DATABASE, DatabaseUrl, LogFormat, RunData, open_store
from job.cli.output import print_line, print_table
from job.cli.output import short as digits
from job.environment import Change
from job.log import log_line
from job.stop import StopRequest, stopped_by_signals


def command(
    good: Annotated[str, typer.Argument(metavar="GOOD", help="A run's number, or `latest`.")],
    bad: Annotated[str, typer.Argument(metavar="BAD", help="A run of the same settings, with other bits.")],
    data: RunData = None,
    work: Annotated[Path, typer.Option(metavar="DIR", help="Directory for environments and results.")] = Path(
        "results/bisect"
    ),
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    log_format: LogFormat = "text",
) -> int:
    """Find which packages or settings made two runs differ, by training with the settings in between.

    Builds environments of the recorded versions with uv, trains each model that differs up to its first
    differing epoch, and halves the changes until the fewest are left that give BAD's bits. Results are kept
    in --work; the same command continues. Exit status 1 if the changes do not explain the difference.
    """
    with open_store(database_url) as store:
        one, other = store.run(good), store.run(bad)
        asked = questions(store, one, other)
    trials = open_trials(one, data, work)
    stop = StopRequest()
    likely: list[Change] = []
    try:
        with trials.alone(), stopped_by_signals(stop, interrupt=True):
            for each in asked:
                answer = bisect(each, trials, log_line, likely)
                likely = answer.cause
                print_answer(answer, trials)
    except KeyboardInterrupt:
        log_line(f"stopped by {stop.by}; the same command goes on where it was")
        return stop.exit_status
    return 0


def print_answer(answer: Answer, trials: Trials) -> None:
    """Print the cause of one model's difference, and the commands that show it again."""
    asked = answer.question
    one, other, epochs = asked.good.id, asked.bad.id, asked.epoch + 1
    if asked.fixed:
        print_table(
            ["not varied", f"run {one}", f"run {other}"],
            [(each.what, each.before, each.now) for each in asked.fixed],
        )
        print_line("")
    unresolved = f", {answer.unresolved} unresolved" * (answer.unresolved > 0)
    print_line(
        f"{asked.model}: run {other}'s bits at epoch {asked.epoch:,} come from {len(answer.cause)} of "
        f"{len(asked.changes)} changes ({answer.trials} trials{unresolved})",
        style="bold",
    )
    rows = [(short(each), each.before, each.now) for each in answer.cause]
    print_table(["change", f"run {one}", f"run {other}"], rows)
    print_line("")
    for words, settings, digest in (
        ("with it", answer.settings, asked.digests[1]),
        ("without it", asked.settings, asked.digests[0]),
    ):
        print_line(f"{words}, this trains {asked.model} to the digest {digits(digest)}:")
        print_line(trials.reproducing(settings, asked.model, epochs))
    print_line("")
