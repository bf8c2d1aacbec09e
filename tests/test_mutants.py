"""The listed mutants can be made, and the script tells killed ones from survivors."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants import NO_RESULT, ROOT, Mutant, killer, likely, listed
from tests.mutations import sample


def test_every_listed_mutant_replaces_text_that_occurs_once() -> None:
    entries = listed()
    assert entries
    assert [problem for entry in entries if (problem := entry.problem())] == []
    assert all(entry.old != entry.new for entry in entries)
    for entry in entries:  # a syntax error would be noticed by any test
        if entry.file.endswith(".py"):
            text = (ROOT / entry.file).read_text(encoding="utf-8")
            compile(text.replace(entry.old, entry.new), entry.file, "exec")


def test_text_that_occurs_twice_or_never_is_a_problem() -> None:
    times = (ROOT / "job/output_files.py").read_text().count("def ")
    assert times > 1
    problem = f"job/output_files.py: 'def ' occurs {times} times, not once"
    assert Mutant("job/output_files.py", "def ", "").problem() == problem
    assert Mutant("job/gone.py", "x", "y").problem() == "job/gone.py: 'x' occurs 0 times, not once"


def test_tests_named_after_the_module_come_first() -> None:
    assert likely("job/plots/figures.py")[0] == "tests/test_plots.py"
    assert likely("job/mirror/deleted.py")[0] == "tests/test_mirror_deleted.py"
    assert likely("./job/fit.py")[0] == "tests/test_fit.py"
    assert likely("job/templates/report.html.j2")[0] == "tests/test_report.py"
    assert "tests/test_named_queries.py" in likely("db/queries/overfitting.sql")


def test_random_changes_are_of_every_kind_and_replace_lines_that_occur_once(tmp_path: Path) -> None:
    made = {
        "x = a < 1": ("x = a <= 1", "x = a < 2"),
        "x = a + b": ("x = (a - b)",),
        "x = a and not b": ("x = ((a) or (not b))", "x = a and bool(b)"),
        "x = a if b else c": ("x = (a)",),
        "x = min(a)[:b]": ("x = min(a)", "x = max(a)[:b]"),
        "x: Literal[1] = f(b, strict=True)": (),
        "é = print(a, b)": ("é = print(b, a)",),
        "print('é')": ("None",),
    }
    for line, changed in made.items():
        (tmp_path / "made.py").write_text(f"{line}\npass\n{line}\n", encoding="utf-8")
        drawn = [change[1:] for change in sample(tmp_path, ["made.py"], 99, seed=1)]
        first = [(f"{line}\npass\n", f"{each}\npass\n") for each in changed]
        second = [(f"pass\n{line}\n", f"pass\n{each}\n") for each in changed]
        assert sorted(drawn) == sorted(first + second), line
    assert sample(tmp_path, ["made.py"], 1, seed=1) == sample(tmp_path, ["made.py"], 1, seed=1)


@pytest.mark.slow
def test_a_mutant_is_killed_by_a_test_that_passes_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for name in ("made", "tests"):
        (tmp_path / name).mkdir()
    (tmp_path / "made/double.py").write_text("def double(x): return x + x\n")
    test = tmp_path / "tests/test_double.py"
    test.write_text("from made.double import double\ndef test_two(): assert double(2) == 4\n")
    assert killer(tmp_path, Mutant("made/double.py", "x + x", "x * x")) is None
    assert killer(tmp_path, Mutant("made/double.py", "x + x", "x")) == "tests/test_double.py::test_two"
    assert killer(tmp_path, Mutant("made/double.py", "return", "retrun")) == "tests/test_double.py"
    conftest = tmp_path / "tests/conftest.py"
    conftest.write_text("import made.double\n")
    assert killer(tmp_path, Mutant("made/double.py", "return", "retrun")) == NO_RESULT
    conftest.write_text("import nothing_of_this_name\n")
    with pytest.raises(SystemExit, match="no result fails without any change"):
        killer(tmp_path, Mutant("made/double.py", "x + x", "x"))
    conftest.unlink()
    test.write_text("def test_two(): assert False\n")
    with pytest.raises(SystemExit, match="test_two fails without any change"):
        killer(tmp_path, Mutant("made/double.py", "x + x", "x"))
