"""`page`: a self-contained HTML page about one run."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from db.downsampled import described
from db.schema import RunRow, VerdictRow
from db.store import Store
from job import __version__
from job.plots.draw import PARAMETERS, all_figures, draw, drawable
from job.plots.figures import MOST_PARAMETERS
from job.plots.subject import Subject, read_subject
from job.report.sentences import sections

TEMPLATE = Path(__file__).parent / "report.html.j2"
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


def page(store: Store, run: RunRow, data: Path | None = None) -> str:
    """The report of a run. Raises StoreError if it has no epochs, DataError if `data` is not its file."""
    subject = read_subject(store, run, data)
    problems = {name: drawable(name, [subject]) for name in all_figures([subject])}
    drawn = draw([subject], [name for name, problem in problems.items() if not problem], ["svg"])
    files = {name: base64.b64encode(content).decode() for name, _, content in drawn}
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template.filters["moment"] = lambda value: "" if value is None else f"{value:%Y-%m-%d %H:%M:%S} UTC"
    return template.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        run=run,
        left=None if run.whole else described(run),
        rows={model: len(history) for model, history in subject.histories.items()},
        verdicts=newest_verdicts(store.verdicts(run.id)),
        sections=sections(store, run, data),
        figures=[
            {"name": name, "caption": caption(name, subject), "svg": files.get(name), "problem": problem}
            for name, problem in problems.items()
        ],
        environment=flat(run.environment),
        version=__version__,
        now=datetime.now(UTC),
    )


def caption(name: str, subject: Subject) -> str:
    """A figure's caption, with a note if parameters are left out."""
    if not name.startswith(PARAMETERS):
        return CAPTIONS[name]
    count = len(subject.run.parameter_names)
    drawn = f" Drawn are the {MOST_PARAMETERS} of {count:,} with the largest last values."
    return CAPTIONS[PARAMETERS].format(model=name.removeprefix(PARAMETERS)) + drawn * (
        count > MOST_PARAMETERS
    )


def newest_verdicts(verdicts: Any) -> list[VerdictRow]:
    """The newest verdict of each kind, model and compared run; failed ones first."""
    newest = {(each.kind, each.model, each.against_run_id): each for each in verdicts}
    return sorted(newest.values(), key=lambda verdict: (verdict.passed, verdict.id))


def flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted name, value) lines."""
    if isinstance(value, dict):
        return [
            line
            for name in sorted(value)
            for line in flat(value[name], f"{prefix}.{name}" if prefix else name)
        ]
    if isinstance(value, list):
        return [line for i, item in enumerate(value, 1) for line in flat(item, f"{prefix}.{i}")]
    return [(prefix, "not set" if value is None else str(value))]
