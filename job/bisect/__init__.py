"""Finds which packages or settings made two runs of one specification differ, by training in between."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from db.digest import digest_of
from db.schema import RunRow
from db.store import Store
from job.bisect.ddmin import ddmin
from job.bisect.trials import Settings, Trials, UnresolvedError, find_uv, settings_of
from job.data.source import source_file
from job.environment import ABSENT, Change, complete, environment_at, environment_changes
from job.errors import BisectError, UnexplainedError
from job.models.reference import require_unchanged
from job.verdicts.drift import in_words, judge

FOLLOWS = ("blas ", "threads ", "training ", "models ")
"""what an environment records that follows from packages, pins and CPU"""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Question:
    """A model that two runs trained to other bits, and what may have done it."""

    good: RunRow
    bad: RunRow
    model: str
    epoch: int
    """the first differing one"""
    digests: tuple[str, str]
    """of GOOD and of BAD, up to this epoch"""
    settings: dict[str, str]
    """GOOD's: Python, packages and pins"""
    changes: list[Change]
    """of the settings, from GOOD to BAD"""
    fixed: list[Change]
    """what else differs, which no trial can vary"""


@dataclass(frozen=True)
class Answer:
    """The fewest changes found that bring BAD's bits."""

    question: Question
    cause: list[Change]
    trials: int
    unresolved: int

    @property
    def settings(self) -> dict[str, str]:
        """GOOD's settings with the cause."""
        return applied(self.question.settings, self.cause)


def questions(store: Store, good: RunRow, bad: RunRow) -> list[Question]:
    """A question for each model that differs, by its first differing epoch.

    Raises BisectError if a run is not completed, the specifications differ or the bits are the same, if both
    runs recorded only a few packages, and as `judge` does.
    """
    for run in (good, bad):
        if run.status != "completed":
            raise BisectError(f"run {run.id} is {run.status}; only completed runs can be bisected")
    found = judge(store, bad, good)
    if found.specification:
        changes = in_words(found.specification)
        raise BisectError(f"runs {good.id} and {bad.id} differ in their specifications: {changes}")
    differing = {model: each.first_epoch for model, each in found.differences.items()}
    firsts = [(epoch, model) for model, epoch in differing.items() if epoch is not None]
    if not firsts:
        raise BisectError(f"runs {good.id} and {bad.id} have the same bits; there is nothing to find")
    return [question(store, good, bad, model, epoch) for epoch, model in sorted(firsts)]


def question(store: Store, good: RunRow, bad: RunRow, model: str, epoch: int) -> Question:
    """The question about one model. Raises BisectError if both runs recorded only a few packages."""
    before, now = (environment_at(run.environment, epoch, model) for run in (good, bad))
    if not (complete(before) or complete(now)):
        raise BisectError(f"runs {good.id} and {bad.id} recorded only a few packages; later runs record all")
    if not complete(before):
        before |= {"packages": now["packages"] | before["packages"]}
    elif not complete(now):
        now |= {"packages": before["packages"] | now["packages"]}
    changes = environment_changes(settings_of(before), settings_of(now))
    fixed = [each for each in environment_changes(before, now) if each not in changes]
    digests = [digest_of(run.parameter_names, store.history(run.id, model, 0, epoch)) for run in (good, bad)]
    named = [each for each in fixed if not each.what.startswith(FOLLOWS)]
    return Question(good, bad, model, epoch, (digests[0], digests[1]), settings_of(before), changes, named)


def open_trials(good: RunRow, data: Path | None, directory: Path) -> Trials:
    """Trials of runs of GOOD's specification.

    Raises BisectError without uv or the data file, DataError if `data` is another file, and ModelError if a
    model's file has changed.
    """
    uv = find_uv()
    require_unchanged(good, "a bisect needs the file as it was")
    file = source_file(good, data)
    if file is None:
        raise BisectError(
            f"the data file of run {good.id}, {good.dataset.name}, is not found; give it with --data"
        )
    return Trials(directory.absolute(), uv, good, file.absolute())


def bisect(asked: Question, trials: Trials, tell: Tell, likely: Sequence[Change] = ()) -> Answer:
    """Find the fewest changes that bring BAD's bits; both ends are confirmed first, then `likely` ones tried.

    Raises UnexplainedError if there are no changes, if GOOD's settings do not give GOOD's bits, or BAD's not
    BAD's.
    """
    asked = with_known_python(asked, trials, tell)
    search = Search(asked, trials, tell)
    tell(
        f"{asked.model} differs from epoch {asked.epoch:,} on; {len(asked.changes)} changes to try"
        + (f"; not varied: {in_words(asked.fixed)}" if asked.fixed else "")
    )
    if not asked.changes:
        raise UnexplainedError(f"{asked.model}: no package and no setting differs; {excuse(asked)}")
    for chosen, run, expected in (([], asked.good, 0), (asked.changes, asked.bad, 1)):
        outcome = search.outcome(chosen)
        if outcome.startswith("unresolved"):
            raise UnexplainedError(f"{asked.model}: run {run.id} cannot be trained again: {outcome}")
        if outcome != asked.digests[expected]:
            raise UnexplainedError(
                f"{asked.model}: run {run.id}'s packages and settings do not bring its bits again: "
                f"{search.named(outcome)}; {excuse(asked)}"
            )
    changes = asked.changes
    if likely and set(likely) < set(changes) and search.brings(list(likely)):
        changes = list(likely)
    return Answer(asked, ddmin(changes, search.brings), search.count, search.unresolved)


def excuse(asked: Question) -> str:
    """That the cause is not among the changes, and what cannot be varied, as the end of a sentence."""
    cause = "so something else made the runs differ"
    return f"{cause}, maybe {in_words(asked.fixed)}" if asked.fixed else cause


def applied(settings: Settings, changes: Sequence[Change]) -> dict[str, str]:
    """The settings with these changes."""
    changed = {**settings, **{change.what: change.now for change in changes}}
    return {name: value for name, value in changed.items() if value != ABSENT}


def with_known_python(asked: Question, trials: Trials, tell: Tell) -> Question:
    """The question; if uv lacks the Python of a run, all trials use the version that runs this."""
    versions = {each["python"] for each in (asked.settings, applied(asked.settings, asked.changes))}
    try:
        for version in sorted(versions):
            trials.home(version)
    except UnresolvedError as reason:
        own = platform.python_version()
        tell(f"all trials use Python {own}: that of a run {reason}")
        held = [change for change in asked.changes if change.what == "python"]
        return replace(
            asked,
            settings=asked.settings | {"python": own},
            changes=[change for change in asked.changes if change not in held],
            fixed=[*asked.fixed, *held],
        )
    return asked


@dataclass
class Search:
    """The trials about one question, counted and told."""

    asked: Question
    trials: Trials
    tell: Tell
    count: int = 0
    unresolved: int = 0

    def brings(self, chosen: Sequence[Change]) -> bool:
        """Whether GOOD's settings with these changes give BAD's bits; not if a trial has no result."""
        return self.outcome(chosen) == self.asked.digests[1]

    def outcome(self, chosen: Sequence[Change]) -> str:
        """The digest with these changes, or `unresolved` and the reason."""
        asked, self.count = self.asked, self.count + 1
        # One cause among n is found by halving, with two trials for each half; before, both ends are tried.
        about = max(self.count, 2 + 2 * math.ceil(math.log2(max(len(asked.changes), 1))))
        settings, epochs = applied(asked.settings, chosen), asked.epoch + 1
        known = self.trials.key(settings, asked.model, epochs) in self.trials.results
        self.tell(f"trial {self.count} of about {about}: {asked.model}, {self.what(chosen)}")
        try:
            outcome = self.trials.digest(settings, asked.model, epochs)
        except UnresolvedError as reason:
            outcome = f"unresolved: {reason}"
            self.unresolved += 1
        self.tell(f"trial {self.count}: {self.named(outcome)}" + " (known from before)" * known)
        return outcome

    def what(self, chosen: Sequence[Change]) -> str:
        """The changes in words."""
        if not chosen:
            return f"run {self.asked.good.id}'s settings"
        words = [short(change) for change in chosen[:3]]
        words += [f"{len(chosen) - 3} more"] * (len(chosen) > 3)
        return f"{len(chosen)} of {len(self.asked.changes)} changes: {', '.join(words)}"

    def named(self, outcome: str) -> str:
        """An outcome in words."""
        if outcome.startswith("unresolved"):
            return outcome
        runs = dict(zip(self.asked.digests, (self.asked.good.id, self.asked.bad.id), strict=True))
        return f"run {runs[outcome]}'s bits" if outcome in runs else "other bits than those of both runs"


def short(change: Change) -> str:
    """The name of a changed package or setting."""
    return change.what.removeprefix("packages ").removeprefix("pins ")
