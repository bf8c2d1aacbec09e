"""Changes the code in one place, in a copy, and prints which test notices: `python -m tests.mutants`.

Without arguments, every change in mutants.toml is tried; `FILE OLD NEW` tries another one. OLD must occur in
FILE exactly once. `--random COUNT SEED FILE...` tries random changes of these files; only the fast tests and
those of the changed module run, without the slow ones: try a change that survives again, alone.
Exit status 1 if no test notices a change, 2 if one cannot be made.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.mutations import sample

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).with_name("mutants.toml")
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "results", "build", "dist"
)
NO_RESULT = "no result"
CLOSEST = 12
"""test files that are tried for a random change, beside the fast tests"""


@dataclass(frozen=True)
class Mutant:
    """One replacement in one file of the repository."""

    file: str
    old: str
    new: str

    def problem(self) -> str | None:
        """Why the change cannot be made; None if it can."""
        path = ROOT / self.file
        times = path.read_text(encoding="utf-8").count(self.old) if path.is_file() else 0
        return None if times == 1 else f"{self.file}: {self.old!r} occurs {times} times, not once"


def listed() -> list[Mutant]:
    """The changes in mutants.toml."""
    return [Mutant(**entry) for entry in tomllib.loads(LIST.read_text(encoding="utf-8"))["mutant"]]


def likely(file: str, tree: Path = ROOT) -> list[str]:
    """The test files that are named after the changed module or its package, import it, or quote its name."""
    package, name = Path(file).parent.name, Path(file).name.partition(".")[0]  # a template has two endings
    module = ".".join(Path(file).with_suffix("").parts).removesuffix(".__init__")
    imports = rf"{re.escape(module)}\b|from {re.escape(module.rpartition('.')[0])} import .*\b{name}\b"

    def closeness(test: Path) -> int:
        text = test.read_text(encoding="utf-8")
        named = 4 * (name in test.stem) + 2 * (package in test.stem)
        return named + 2 * bool(re.search(imports, text)) + (f'"{name}"' in text)

    tests = {str(test.relative_to(tree)): closeness(test) for test in sorted(tree.glob("tests/test_*.py"))}
    return sorted((test for test in tests if tests[test]), key=lambda test: -tests[test])


def first_failure(tree: Path, *arguments: str) -> str | None:
    """The test that fails first in a tree; None if none does, and NO_RESULT if the tests end without one."""
    # Tests start `python -m job` elsewhere, which must import the copy as well.
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", *arguments]
    settings = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tree, env=settings, capture_output=True, text=True)
    if done.returncode in (0, 5):  # 5: there is no such test
        return None
    if done.returncode == 4 and "while loading conftest" not in done.stderr:  # wrong use
        sys.exit(done.stderr)
    found = re.search(r"^(?:FAILED|ERROR) (.*?)(?: - .*)?$", done.stdout, re.MULTILINE)
    return found[1] if found else NO_RESULT


def killer(tree: Path, mutant: Mutant, whole: bool = True) -> str | None:
    """The test that notices a change in the tree; None if none does. The tree is restored.

    Without `whole`, only the fast tests run, and those of the CLOSEST test files that are not slow.
    """
    path, tests = tree / mutant.file, likely(mutant.file, tree)[: None if whole else CLOSEST]
    original = path.read_text(encoding="utf-8")
    cheap = "fast or sqlite or thorough"
    stages = [["-m", cheap, *tests], ["-m", f"not ({cheap} or slow)", *tests], ["-m", "fast"]]
    for selection in [*stages, tests, []] if whole else stages:
        path.write_text(original.replace(mutant.old, mutant.new), encoding="utf-8")
        test = first_failure(tree, *selection)
        path.write_text(original, encoding="utf-8")
        if test is None:
            continue
        if first_failure(tree, *(selection if test == NO_RESULT else [test])) is None:
            return test
        sys.exit(f"{test} fails without any change, so it says nothing about one")
    return None


def main(mutants: Iterable[Mutant], whole: bool = True) -> int:
    """Try the changes and print the result of each, and how many were noticed."""
    worst = killed = tried = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        tree = Path(directory) / "tree"
        shutil.copytree(ROOT, tree, ignore=NOT_COPIED)
        for mutant in mutants:
            if problem := mutant.problem():
                print(f"error     {problem}", flush=True)
                worst = 2
                continue
            test = killer(tree, mutant, whole)
            tried, killed, worst = tried + 1, killed + (test is not None), max(worst, test is None)
            what = f"{mutant.file}: {mutant.old!r} -> {mutant.new!r}"
            print(
                f"survived  {what}" if test is None else f"killed    {what}\n          by {test}", flush=True
            )
    print(f"{killed} of {tried} killed")
    return worst


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            sys.exit(main(listed()))
        case ["--random", count, seed, *files]:
            drawn = sample(ROOT, files, int(count), int(seed))
            sys.exit(main((Mutant(*change) for change in drawn), whole=False))
        case [file, old, new]:
            sys.exit(main([Mutant(file, old, new)]))
        case _:
            sys.exit(__doc__)
