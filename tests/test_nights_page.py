"""`job nights --report`: a page with a square for each scheduled run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from db import scheduled_runs
from db.schema import ScheduledRunRow, VerdictRow
from db.store import Store
from job.cli import run
from job.schedule.page import nights_page
from job.verdicts.baseline import set_baseline
from tests.samples import execute
from tests.series import FIRST, judged, night


@pytest.fixture
def store(migrated_url: str) -> Iterator[Store]:
    with Store(migrated_url) as opened:
        yield opened


@pytest.fixture
def page(store: Store, tmp_path: Path) -> Callable[[], str]:
    return lambda: nights_page(store, scheduled_runs.newest(store), "at a glance", tmp_path)


def squares(page: str) -> list[tuple[str, ...]]:
    """The classes of each square in the calendar, in the order of the page."""
    calendar = page[page.index("<tbody>") : page.index("</tbody>")]
    return [tuple(found.split()[1:]) for found in re.findall(r'class="(square[^"]*)"', calendar)]


def cells(page: str, section: str) -> list[list[str]]:
    """The text of each cell of a section's table, without its head."""
    table = page.partition(f'<section id="{section}">')[2].partition("</table>")[0]
    rows = [re.findall(r"<td.*?>(.*?)</td>", row, re.DOTALL) for row in table.split("<tr>")[2:]]
    return [[re.sub(r"<.*?>", "", cell) for cell in row] for row in rows]


def missed(store: Store, detail: str) -> None:
    """A scheduled run that was missed, after the others."""
    row = scheduled_runs.add_unscheduled(store, ScheduledRunRow(due_at=FIRST.replace(month=4), status="due"))
    scheduled_runs.settle(store, row.id, "missed", detail)


def test_nights_have_one_colour_if_and_only_if_they_have_the_same_bits_and_changes_name_both_runs(
    store: Store, page: Callable[[], str]
) -> None:
    for bits in (0, 0, 1, 1, 0):
        judged(store, night(store, bits))
    made = page()
    assert squares(made) == [
        ("passed", "c0"),
        ("passed", "c0"),
        ("drifted", "edge", "c1"),
        ("passed", "c1"),
        ("drifted", "edge", "c0"),
    ]
    assert [row[1:4] for row in cells(made, "bits")] == [
        ["3", "2026-03-01, run 1", "2026-03-05, run 5"],
        ["2", "2026-03-03, run 3", "2026-03-04, run 4"],
    ]
    drifts = {each.run_id: each.worst for each in (store.verdicts(3)[-1], store.verdicts(5)[-1])}
    assert cells(made, "edges") == [
        ["2026-03-05", "5", "4", "0", f"{drifts[5]:.2g}", "the same"],
        ["2026-03-03", "3", "2", "0", f"{drifts[3]:.2g}", "the same"],
    ]


def test_each_digest_is_under_its_model_where_specifications_have_others(
    store: Store, page: Callable[[], str]
) -> None:
    night(store)
    night(store, 1)
    execute(store, "UPDATE models SET name = 'other' WHERE run_id = 1 AND name = 'paddle'")
    rows = re.findall(r"<tr>.*?</tr>", page().partition('id="bits"')[2].partition("</table>")[0], re.DOTALL)
    found = [re.findall(r"<t[hd]>(?:digest of |<code>)(\w*)", row) for row in rows]
    digests = {
        (run.id, model): str(digest)[:12] for run in store.runs() for model, digest in run.digests.items()
    }
    assert found[0] == ["other", "python", "paddle"]
    assert found[1:] == [[digests.get((run, model), "") for model in found[0]] for run in (1, 2)]


def test_against_a_baseline_each_night_is_marked_until_the_change_is_accepted(
    store: Store, page: Callable[[], str]
) -> None:
    first = night(store)
    set_baseline(store, first, "first night", "alice")
    for _ in range(2):
        changed = night(store, 1, environment={"packages": {"numpy": "9.9"}})
        judged(store, changed)
    set_baseline(store, changed, "numpy 9.9 is <right>", "bob")
    judged(store, night(store, 1))
    made = page()
    assert [kind for kind, *_ in squares(made)] == ["passed", "drifted", "drifted", "passed"]
    assert "packages numpy 9.9" in made[made.index('id="edges"') : made.index('id="baselines"')]
    accepted = made[made.index('id="baselines"') : made.index('id="others"')]
    assert "numpy 9.9 is &lt;right&gt;" in accepted
    worst = store.verdicts(2)[-1].worst
    added = "packages numpy 9.9, was absent"
    assert [row[1:] for row in cells(made, "baselines")] == [
        ["set", "3", "bob", "numpy 9.9 is &lt;right&gt;", "1", f"{worst:.2g}", added],
        ["set", "1", "alice", "first night", "", "", ""],
    ]


def test_missed_and_failed_nights_are_marked_and_listed_with_their_reasons(
    store: Store, page: Callable[[], str]
) -> None:
    night(store, status="failed")
    execute(store, "UPDATE runs SET stop_reason = 'no memory'")
    missed(store, "<script>alert(1)</script>")
    made = page()
    assert 'title="2026-03-01 02:00Z, failed, run 1, no memory"' in made
    assert squares(made) == [("failed",), ("missed",)]
    judged_badly = night(store)
    failed = VerdictRow(run_id=judged_badly.id, kind="parity", passed=False, tolerance=0.0, detail="")
    store.add_verdict(failed)
    assert cells(page(), "others") == [
        ["2026-04-01 02:00:00 UTC", "missed", "", "&lt;script&gt;alert(1)&lt;/script&gt;"],
        ["2026-03-03 02:00:00 UTC", "verdict failed", "2", "job show 2"],
        ["2026-03-01 02:00:00 UTC", "failed", "1", "no memory"],
    ]
    assert "<script" not in made


def test_a_square_is_a_link_if_the_runs_report_is_beside_the_page(
    store: Store, page: Callable[[], str], tmp_path: Path
) -> None:
    night(store)
    night(store)
    (tmp_path / "report-2.html").touch()
    assert re.findall(r"href=[\"']?(report-\d+\.html)", page()) == ["report-2.html"]


def test_an_empty_store_has_a_page_too(page: Callable[[], str]) -> None:
    assert "No scheduled runs yet" in page()


def test_the_page_loads_nothing_from_the_network(store: Store, page: Callable[[], str]) -> None:
    judged(store, night(store))
    assert not re.search(r"https?://|src=", page())


def test_the_command_writes_the_page_of_all_runs_and_prints_its_name(
    sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store(sqlite_url, create=True) as store:
        for _ in range(3):
            night(store)
    path = tmp_path / "year.html"
    assert run(["nights", "--report", str(path), "--limit", "1", "--database-url", sqlite_url]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert len(squares(path.read_text())) == 3


def test_days_are_those_of_utc(store: Store, page: Callable[[], str]) -> None:
    night(store)
    execute(store, "UPDATE scheduled_runs SET due_at = '2026-03-31 23:59:00.000'")
    row = re.search(r"<tr><th scope=\"row\">.*?</tr>", page(), re.DOTALL)
    assert row is not None
    cells = re.findall(r"<td>(.*?)</td>", row[0], re.DOTALL)
    assert [bool(cell) for cell in cells] == [False] * 30 + [True]
