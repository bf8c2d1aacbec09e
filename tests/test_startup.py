"""What a short command imports, and how a process ends: quickly, with all its output written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from db.store import Store
from tests.conftest import ROOT
from tests.samples import dataset_row, history

pytestmark = pytest.mark.process


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `code` in a new Python process in the test's directory."""
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        ("runs", "sqlalchemy.orm numpy alembic"),
        ("nights", "numpy alembic"),
        ("query --sql SELECT(1)", "numpy alembic"),
    ],
)
def test_a_short_command_loads_nothing_heavy(words: str, heavy: str, database_url: str) -> None:
    with Store(database_url) as store:
        writer = store.start_run(dataset_row(), epochs=5, learning_rate=0.1, seed=0, environment={})
        writer.append("paddle", history())
        writer.finish("completed")
    code = (
        "from job.cli import run\n"
        f"status = run([*{words.split()}, '--database-url', sys.argv[1]])\n"
        f"print([name for name in {heavy.split()} if name in sys.modules])\n"
        "sys.exit(status)"
    )
    done = python(code, database_url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_bare_loop_that_we_are_measured_against_loads_nothing_of_the_store() -> None:
    done = python("import benchmarks.bare\nprint('sqlalchemy' in sys.modules)")
    assert done.stdout == "False\n", done.stderr


def test_what_was_printed_is_not_lost_when_a_process_ends() -> None:
    done = python("from job.__main__ import leave\nprint('half a table')\nleave(1)")
    assert (done.returncode, done.stdout) == (1, "half a table\n")


@pytest.mark.parametrize("reader", ["None", "open('/dev/full', 'w')"])
def test_nobody_to_print_to_does_not_change_the_status(reader: str) -> None:
    done = python(f"from job.__main__ import leave\nsys.stdout = {reader}\nprint('x')\nleave(2)")
    assert (done.returncode, done.stderr) == (2, "")


def test_a_thread_that_is_at_work_is_waited_for() -> None:
    code = (
        "import threading, time\n"
        "from job.__main__ import leave\n"
        "threading.Thread(target=lambda: (time.sleep(0.3), print('done', flush=True))).start()\n"
        "leave(0)"
    )
    assert python(code).stdout == "done\n"


LOADS = """
from job.__main__ import leave
from job.models.loading import load_models
load_models({})
leave(0)
"""
ENDS = """
import atexit
from job.models.python import PythonModel

atexit.register(print, "bye")
notes = open("notes.txt", "w")  # and never closed
notes.write("kept")

class Mine(PythonModel):
    pass
"""


def test_files_and_exit_handlers_of_a_users_model_end_as_in_any_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(ENDS)
    assert python(LOADS.format(["mine.py:Mine"])).stdout == "bye\n"
    assert Path("notes.txt").read_text() == "kept"


def test_python_does_not_tear_down_the_built_in_models() -> None:
    assert python("import atexit\natexit.register(print, 'slow')\n" + LOADS.format(["python"])).stdout == ""
