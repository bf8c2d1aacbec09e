"""`job audit`: whether stored epochs are what the models make of those before them."""

from __future__ import annotations

import secrets
from typing import Annotated

import typer

from job.cli.options import DEFAULT_DATABASE, MOST_EPOCHS, AsJson, DatabaseUrl, Run, RunData, open_store
from job.cli.output import print_json, print_verdict, verdict_record
from job.cli.progress import counting
from job.replay.audit import draw, judge
from job.replay.state import prepare

SAMPLE = 100


def audit(
    run: Run = "latest",
    sample: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_EPOCHS, help=f"Replay epoch 0 and N - 1 at random. Default: {SAMPLE}."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Replay every epoch; as slow as the training.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**32 - 1, help="Seed of the draw. Default: random.")
    ] = None,
    data: RunData = None,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> int:
    """Replay stored epochs of each model from the stored epoch before, and compare the bits.

    Epoch 0 is replayed from the start that the seed gives. Stores the verdict. Exit status 1 if an epoch
    is not reproduced: it, the seed, the learning rate or the data file was changed.
    """
    if everything and (sample is not None or seed is not None):
        raise typer.BadParameter("--all replays every epoch; leave out --sample and --seed")
    seed = secrets.randbelow(2**32) if seed is None else seed
    count = None if everything else sample or SAMPLE
    with open_store(database_url) as store:
        replay = prepare(store, store.run(run), data)
        plan = draw(replay, count, seed)
        with counting("replaying epochs", sum(map(len, plan.chosen.values()))) as advance:
            verdict = judge(replay, plan, advance)
        verdict = store.add_verdict(verdict)
    if as_json:
        print_json(verdict_record(verdict))
    else:
        print_verdict(verdict)
    return 0 if verdict.passed else 1
