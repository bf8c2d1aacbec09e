"""Lines on stderr: text for people, or one JSON object each for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from job import log

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _unbound() -> Iterator[None]:
    before = dict(log._bound)
    log._bound.clear()
    yield
    log._bound.clear()
    log._bound.update(before)


@pytest.mark.parametrize("setting", ["", "text", "JSONL"])
def test_text_is_the_message_and_what_is_for_programs_is_left_out(
    capsys: Output, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setenv("JOB_LOG_FORMAT", setting)
    log.log_line("so it is", "event", field=1)
    log.log_event("not for people", "event")
    assert capsys.readouterr() == ("", "job: so it is\n")


def test_json_has_the_time_the_event_what_is_bound_and_the_fields(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOB_LOG_FORMAT", " Json ")
    log.log_line("first")
    log.bind(run=3, model="a")
    log.log_event("second", "step", model="b", path=Path("x"))
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    moment = datetime.fromisoformat(first.pop("time"))
    assert abs(moment - datetime.now(UTC)) < timedelta(minutes=5)
    assert moment.utcoffset() == timedelta(0)
    assert first == {"event": "note", "message": "first"}
    assert second.keys() == {"time", "event", "run", "model", "path", "message"}
    assert (second["event"], second["run"], second["model"], second["path"]) == ("step", 3, "b", "x")
