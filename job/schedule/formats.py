"""Scheduled runs for other programs: metrics for Prometheus, JUnit's XML, and Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from xml.etree import ElementTree

from prometheus_client import CollectorRegistry, Enum, Gauge

from db.scheduled_runs import ScheduledRun
from db.schema import STATUSES, RunRow, VerdictRow
from db.store import Store
from job.verdicts.fail_on import FailOn

RESULTS = ("passed", "drifted", "failed", "missed", "skipped", "due")
ENDED = [status for status in STATUSES if status != "running"]
SPECIFICATION = ("data", "target", "models", "epochs", "learning_rate", "seed")
"""the labels that say which runs a metric is about"""


def metrics(store: Store, nights: Sequence[ScheduledRun]) -> CollectorRegistry:
    """Gauges about the last ended run of each specification, and about all `nights`, the latest first."""
    registry = CollectorRegistry()

    def gauge(name: str, about: str, *labels: str) -> Gauge:
        return Gauge(f"epoch_ledger_{name}", about, labels, registry=registry)

    count = gauge("scheduled_runs", "Scheduled runs in the store, by result.", "result")
    due = gauge(
        "scheduled_run_due_timestamp_seconds", "When the last one with this result was due.", "result"
    )
    results = Counter(night.result for night in nights)
    for result in RESULTS:
        count.labels(result).set(results[result])
    for night in reversed(nights):
        due.labels(night.result).set(night.row.due_at.timestamp())

    ended = gauge("run_end_timestamp_seconds", "When the last scheduled run ended.", *SPECIFICATION)
    took = gauge("run_duration_seconds", "How long it took.", *SPECIFICATION)
    speed = gauge("run_epochs_per_second", "Epochs of all models divided by the duration.", *SPECIFICATION)
    of_run = (*SPECIFICATION, "kind", "model")
    passed = gauge("verdict_passed", "1 if the verdict passed, 0 if it failed.", *of_run)
    gap = gauge("verdict_largest_gap", "The verdict's largest gap or distance, if it is finite.", *of_run)
    status = Enum("epoch_ledger_run_status", "How it ended.", SPECIFICATION, registry=registry, states=ENDED)
    for which, night in last_ended(nights).items():
        run, seconds = night.run, night.seconds
        assert run is not None
        status.labels(*which).state(run.status)
        if run.finished_at is not None and seconds is not None:
            ended.labels(*which).set(run.finished_at.timestamp())
            took.labels(*which).set(seconds)
            speed.labels(*which).set(sum(store.progress(run.id).values()) / max(seconds, 0.001))
        for verdict in verdicts(store, night):
            own = (*which, verdict.kind, verdict.model or "")
            passed.labels(*own).set(verdict.passed)
            if verdict.worst is not None:
                gap.labels(*own).set(verdict.worst)
    return registry


def last_ended(nights: Sequence[ScheduledRun]) -> dict[tuple[str, ...], ScheduledRun]:
    """The last scheduled run that has ended, by its labels.

    Two specifications may have the same labels: a file, or the class of a model, has changed.
    """
    last: dict[tuple[str, ...], ScheduledRun] = {}
    for night in nights:
        if night.run is not None and night.run.status in ENDED:
            last.setdefault(labels(night.run), night)
    return last


def verdicts(store: Store, night: ScheduledRun) -> list[VerdictRow]:
    """The newest verdict of each kind and model, of drift the night's own: not those of `job compare`."""
    stored = store.verdicts(night.run.id) if night.run else []
    newest = {(each.kind, each.model): each for each in stored if each.kind != "drift"}
    own = [each for each in stored if night.drift is not None and each.id == night.drift.id]
    return sorted([*newest.values(), *own], key=lambda verdict: verdict.id)


def labels(run: RunRow) -> tuple[str, ...]:
    """The values of SPECIFICATION for a run."""
    models = ",".join(model.name for model in run.models)
    data = run.dataset
    return data.name, data.target, models, str(run.epochs), f"{run.learning_rate:g}", str(run.seed)


def junit(store: Store, nights: Sequence[ScheduledRun]) -> bytes:
    """JUnit's XML: a suite for each scheduled run, a case for how it ended and for each of its verdicts.

    The form is that of the JUnit 4 schema that Jenkins, GitLab and GitHub's actions read.
    """
    root = ElementTree.Element("testsuites", name="scheduled runs")
    for night in nights:
        if night.result == "due":
            continue
        found = verdicts(store, night)
        failed = FailOn.drift.failed(found)
        cases = [case(night), *(verdict_case(each, each in failed) for each in found)]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=f"{night.row.due_at:%Y-%m-%d %H:%M}Z",
            timestamp=f"{night.row.due_at:%Y-%m-%dT%H:%M:%S}",
            time=f"{night.seconds or 0:.3f}",
            tests=str(len(cases)),
            failures=str(sum(each.find("failure") is not None for each in cases)),
            skipped=str(sum(each.find("skipped") is not None for each in cases)),
        )
        for each in cases:
            each.set("classname", f"epoch-ledger.{suite.get('name')}")
        suite.extend(cases)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, "utf-8", xml_declaration=True)) + b"\n"


def case(night: ScheduledRun) -> ElementTree.Element:
    """Whether a scheduled run was completed, as a test case."""
    made = ElementTree.Element("testcase", name="run", time=f"{night.seconds or 0:.3f}")
    if night.outcome != "completed":
        why = night.why
        kind = "skipped" if night.result == "skipped" else "failure"
        ElementTree.SubElement(made, kind, message=f"{night.outcome}: {why}" if why else night.outcome)
    return made


def verdict_case(verdict: VerdictRow, failed: bool) -> ElementTree.Element:
    """A verdict as a test case; one that has not passed and does not count as `failed` is accepted."""
    name = " ".join(filter(None, (verdict.kind, verdict.model)))
    made = ElementTree.Element("testcase", name=name, time="0")
    if failed:
        ElementTree.SubElement(made, "failure", message=verdict.detail)
    elif not verdict.passed:
        ElementTree.SubElement(made, "skipped", message=f"accepted: {verdict.detail}")
    return made


def markdown(nights: Sequence[ScheduledRun], glance: str) -> str:
    """The runs as a table for a CI system's page, under the line at a glance."""
    head = "| due | result | run | why |"
    lines = ["### Scheduled runs", "", in_cell(glance), "", head, "|---|---|---|---|"]
    for night in nights:
        bits = night.baseline or night.drift
        why = night.why
        if night.result == "drifted":
            why = bits.detail if bits else ""
        elif night.failed and night.run:
            why = f"a verdict failed; see job show {night.run.id}"
        run = night.run.id if night.run else ""
        lines.append(
            f"| {night.row.due_at:%Y-%m-%d %H:%M}Z | {night.result} | {run} | {in_cell(why or '')} |"
        )
    return "\n".join(lines) + "\n"


def in_cell(text: str) -> str:
    """A text that Markdown shows as it is, in one line."""
    escaped = "".join(f"\\{sign}" if sign in "\\`*_[]<>|#~" else sign for sign in text)
    return " ".join(escaped.split())
