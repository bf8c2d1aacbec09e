"""`page`: a self-contained HTML page about one run."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from db.epochs import what_is_left
from db.errors import StoreError
from db.schema import RunRow, VerdictRow
from db.store import Store
from job.environment import flat, main_packages
from job.fit import PARTS, fits, remark
from job.html import rendered
from job.plots.draw import PARAMETERS, all_figures, draw, drawable
from job.plots.figures import MOST_PARAMETERS
from job.plots.gaps import apart_by
from job.plots.subject import Subject, read_subject
from job.report.sentences import sections
from job.verdicts.drift import COLUMNS, Comparison, judge

R2_IN_WORDS = (
    "R2 is 1 - mean squared error / variance of the same rows. For comparison, the training mean: the mean "
    "of the training rows as the prediction of every row."
)
CAPTIONS = {
    "losses": "Train and test loss of each model. Where a broken line lies on the broad one, they agree.",
    PARAMETERS: "What the {model} model learned, parameter by parameter.",
    "gap": "How far the others are from the first model: pale, every epoch; strong, the largest of the "
    "epochs around. Epochs without a gap leave no mark. If the data file is found, the last panel shows how "
    "far each model is from gradient descent in float64, and the bound that float32's rounding allows.",
    "overfitting": "Train and test loss; the dot is the best test loss. Where the background is shaded, the "
    "test loss rises while the train loss falls; the second panel shows the largest such stretch, and which "
    "parameters turn around it.",
    "predictions": "Predicted against true values of the test rows after the last epoch, in original units.",
}


class Drift(NamedTuple):
    """A run beside the one that its newest drift verdict is about."""

    comparison: Comparison | None
    """None if they cannot be compared any more"""
    remark: str
    svg: str | None
    """the figure, in base64, if there is a gap"""


class Outcome(NamedTuple):
    """A table, and what its columns are."""

    columns: list[str]
    groups: dict[str, list[list[str]]]
    """the rows of some models, by their names"""
    note: str


def page(store: Store, run: RunRow, data: Path | None = None) -> str:
    """The report of a run. Raises StoreError if it has no epochs, DataError if `data` is not its file."""
    subject = read_subject(store, run, data)
    alike = models_alike(subject)
    names = [name for name in all_figures([subject]) if name.removeprefix(PARAMETERS) not in alike]
    problems = {name: drawable(name, [subject]) for name in names}
    files = svgs([subject], [name for name, problem in problems.items() if not problem])
    packages = run.environment.get("packages", {})
    return rendered(
        "report.html.j2",
        run=run,
        left=None if run.whole else what_is_left(run),
        rows={model: len(history) for model, history in subject.histories.items()},
        verdicts=newest_verdicts(store.verdicts(run.id)),
        outcome=outcome(subject),
        drift=drift(store, subject, data),
        columns=COLUMNS,
        sections=sections(store, run, data),
        figures=[
            {"name": name, "caption": caption(name, subject), "svg": files.get(name), "problem": problem}
            for name, problem in problems.items()
        ],
        environment=flat({name: value for name, value in run.environment.items() if name != "packages"}),
        main_packages=main_packages(packages),
        packages=packages,
    )


def outcome(subject: Subject) -> Outcome:
    """The last epoch's losses, and the errors in the target's units; models with the same are together."""
    run = subject.run
    losses = {
        model: (float(own.train_loss[-1]), float(own.test_loss[-1]))
        for model, own in subject.histories.items()
    }
    errors = fits(run, losses, subject.dataset)
    about: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for name in {**losses, **errors}:
        texts = tuple(
            (f"{losses[name][i]:.6g}" if name in losses else "", *(errors[name][i].texts if errors else ()))
            for i in range(len(PARTS))
        )
        about.setdefault(texts, []).append(name)
    groups = {
        " and ".join(names): [[part, *own] for part, own in zip(PARTS, texts, strict=True)]
        for texts, names in about.items()
    }
    note = "Losses are those of the last epoch, before its update."
    if errors:
        note += f" RMSE is the root mean squared error in units of {run.dataset.target}."
        note += f" {R2_IN_WORDS}" if subject.dataset else f" {remark(run)}."
    return Outcome(["", "rows", "loss", *(["RMSE", "R2"] if errors else [])], groups, note)


def drift(store: Store, subject: Subject, data: Path | None) -> Drift | None:
    """The run compared again with the one of its newest drift verdict; None without such a verdict."""
    judged = [each for each in store.verdicts(subject.run.id) if each.kind == "drift"]
    if not judged:
        return None
    if judged[-1].against_run_id is None:
        return Drift(None, "the other run was deleted", None)
    try:
        against = store.run(judged[-1].against_run_id)
        comparison = judge(store, subject.run, against, judged[-1].tolerance)
        subjects = [read_subject(store, against, data), subject]
    except StoreError as error:
        return Drift(None, str(error), None)
    files = {} if drawable("drift", subjects) else svgs(subjects, ["drift"])
    return Drift(comparison, "", files.get("drift"))


def svgs(subjects: Sequence[Subject], names: Sequence[str]) -> dict[str, str]:
    """These figures of runs, in base64."""
    return {name: base64.b64encode(file).decode() for name, _, file in draw(subjects, names, ["svg"])}


def models_alike(subject: Subject) -> list[str]:
    """The models whose parameters are within the tolerance of the first model's at each epoch."""
    first, *others = subject.models
    return [
        model
        for model in others
        if {first, model} <= subject.histories.keys()
        and np.array_equal(subject.histories[first].epoch, subject.histories[model].epoch)
        and apart_by(subject.histories[first], subject.histories[model])[1][2].max() <= subject.tolerance
    ]


def caption(name: str, subject: Subject) -> str:
    """A figure's caption, with a note if parameters or models are left out."""
    if not name.startswith(PARAMETERS):
        return CAPTIONS[name]
    count = len(subject.run.parameter_names)
    drawn = f" Drawn are the {MOST_PARAMETERS} of {count:,} with the largest last values."
    model = name.removeprefix(PARAMETERS)
    alike = models_alike(subject) if model == subject.models[0] else []
    same = f" Those of {' and '.join(alike)} differ too little for a figure." if alike else ""
    return CAPTIONS[PARAMETERS].format(model=model) + drawn * (count > MOST_PARAMETERS) + same


def newest_verdicts(verdicts: Any) -> list[VerdictRow]:
    """The newest verdict of each kind, model and compared run; failed ones first."""
    newest = {(each.kind, each.model, each.against_run_id): each for each in verdicts}
    return sorted(newest.values(), key=lambda verdict: (verdict.passed, verdict.id))
