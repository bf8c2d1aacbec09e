"""`job show`: one run."""

from __future__ import annotations

import shlex
from dataclasses import asdict

from db.database import summaries
from db.epochs import what_is_left
from job.cli.options import DEFAULT_DATABASE, AsJson, DatabaseUrl, HeartbeatTimeout, Run, open_store
from job.cli.output import ALONE, moment, print_json, print_line, print_table, print_verdict, verdict_record
from job.data.reading import Reading
from job.data.source import source
from job.environment import flat, main_packages
from job.fit import PARTS, fits, last_losses, remark

ARCHIVED = "yes; `job db unarchive {}` puts its epochs back into the table"


def show(
    run: Run = "latest",
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    heartbeat_timeout: HeartbeatTimeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """Show one run whole: its settings, progress, last losses, verdicts and environment."""
    with open_store(database_url, heartbeat_timeout=heartbeat_timeout) as store:
        found = store.run(run)
        if found.status == "running":  # or not any more
            store.mark_crashed()
            found = store.run(run)
        summary = summaries(store, found.id)[0]
        progress = summary["trained"]
        verdicts = store.verdicts(found.id)
        losses = last_losses(store, found.id)
    dataset = source(found)
    errors = fits(found, losses, dataset)
    if as_json:
        print_json(
            summary
            | {
                "features": [feature.name for feature in found.dataset.features],
                "models": [
                    {name: getattr(model, name) for name in ("name", "source", "source_sha256", "digest")}
                    for model in found.models
                ],
                "parameters": found.parameter_names,
                "last_losses": {model: dict(zip(PARTS, own, strict=True)) for model, own in losses.items()},
                "errors": {
                    name: {part: asdict(fit) for part, fit in zip(PARTS, own, strict=True)}
                    for name, own in errors.items()
                },
                "verdicts": [verdict_record(verdict) for verdict in verdicts],
                "environment": found.environment,
            }
        )
        return
    table = found.dataset
    facts: list[tuple[str, object]] = [
        ("run", f"{found.id} ({found.trigger})"),
        ("status", found.status + (f": {found.stop_reason}" if found.stop_reason else "")),
        ("dataset", f"{table.name} (sha256 {table.sha256[:12]}), target {table.target}"),
        *([("read with", shlex.join(options))] if (options := Reading.of(table.reading).words) else []),
        ("rows", f"{table.train_rows} to train, {table.test_rows} to test"),
        ("features", ", ".join(feature.name for feature in table.features)),
        ("models", ", ".join(model.described for model in found.models)),
        ("settings", f"{found.epochs:,} epochs, learning rate {found.learning_rate:g}, seed {found.seed}"),
        (
            "trained",
            ", ".join(f"{model} {count:,}" for model, count in progress.items()) or "nothing yet",
        ),
        *([("left", what_is_left(found))] if not found.whole else []),
        *([("archived", ARCHIVED.format(found.id))] if found.archived else []),
        ("created", moment(found.created_at)),
        ("heartbeat", moment(found.heartbeat_at)),
        ("finished", moment(found.finished_at)),
        ("resumes", str(found.resumes)),
    ]
    facts += [(f"{model} loss", f"train {own[0]:.8f}, test {own[1]:.8f}") for model, own in losses.items()]
    facts += [
        (f"RMSE of {name.removeprefix('training ')}", f"train {own[0]}, test {own[1]}")
        for name, own in errors.items()
    ]
    if errors:
        facts.append(("units of RMSE", table.target + (f"; {remark(found)}" if dataset is None else "")))
    gone = " (of epochs that are no longer all there)" * (not found.whole)
    facts += [(f"{model.name} digest", model.digest + gone) for model in found.models if model.digest]
    environment = dict(found.environment)
    if "packages" in environment:
        environment["packages"] = main_packages(environment["packages"])
    for name in sorted(environment):
        values = flat(environment[name]).items()
        facts.append((name, ", ".join(f"{path} {value}".strip() for path, value in values) or "none"))
    print_table(["", ""], facts)
    print_line("")
    for verdict in verdicts:
        print_verdict(verdict)
    if not verdicts and len(found.models) == 1:
        print_line(ALONE)
    elif not verdicts:
        print_line("no verdicts" + ("" if not found.whole else f" yet; `job verify {found.id}` gives them"))
