"""The help fits a narrow terminal, and shells complete commands and options."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from job.cli import COMMANDS, load, run


def commands() -> Iterator[list[str]]:
    for name in COMMANDS:
        yield [name]
        yield from ([name, each] for each in getattr(load(name), "commands", {}))


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_help_names_values_in_a_word_and_leaves_half_of_a_line_to_the_text(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*words, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if re.match(r"  \S.*<(bool|int|float|str|path|list)", line)]
    texts = [len(line) - len(line.lstrip()) for line in lines if line.startswith(" " * 20)]
    assert all(indent <= 34 for indent in texts)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("job tr", "train"),
        ("job train --ep", "--epochs"),
        ("job db ba", "backup"),
        ("job query over", "overfitting"),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(shell: str, line: str, expected: str) -> None:
    words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    asked = words | {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = subprocess.run(
        [sys.executable, "-m", "job"],
        env=os.environ | asked | {"_JOB_COMPLETE": f"complete_{shell}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert expected in done.stdout
    assert "prune" not in done.stdout
