"""A model is a built-in name, an entry point or a class in a file; anything else is refused in one line."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from db.model_source import ModelSource
from job.errors import ModelError
from job.models import loading, reference
from job.models.loading import load_models
from job.models.python import PythonModel
from job.models.reference import parse, reference_of, sources

OWN = """
from job.models.python import PythonModel

class Mine(PythonModel):
    pass
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return path


def refusal(text: str) -> str:
    with pytest.raises(ModelError) as raised:
        load_models([text])
    assert len(str(raised.value).splitlines()) == 1
    return str(raised.value)


def test_a_built_in_model_goes_by_its_name() -> None:
    (found,) = load_models(["python"]).values()
    assert found is PythonModel
    assert sources(["python"]) == (("python", "python", None),)


def test_a_class_in_a_file_is_named_after_the_file_or_as_one_likes(own: Path) -> None:
    for text, name in ((f"{own}:Mine", "mine"), (f"other={own}:Mine", "other")):
        ((key, found),) = load_models([text]).items()
        assert key == name
        assert (found.__name__, found.__mro__[1]) == ("Mine", PythonModel)
        (source,) = sources([text])
        assert source == (name, f"{own}:Mine", hashlib.sha256(own.read_bytes()).hexdigest())
        assert reference_of(ModelSource(*source)) == f"{name}={own}:Mine"


def test_a_relative_path_is_kept_as_an_absolute_one(own: Path) -> None:
    os.chdir(own.parent)
    assert parse("mine.py:Mine").source == f"{own}:Mine"


def test_an_installed_entry_point_goes_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("theirs", "job.models.python:PythonModel", reference.GROUP)
    points = importlib.metadata.EntryPoints([point])
    for module in (reference, loading):
        monkeypatch.setattr(module, "entry_points", lambda **wanted: points.select(**wanted))
    ((name, found),) = load_models(["theirs"]).items()
    content = Path(str(importlib.import_module("job.models.python").__file__)).read_bytes()
    assert (name, found) == ("theirs", PythonModel)
    assert sources(["theirs"]) == (("theirs", "theirs", hashlib.sha256(content).hexdigest()),)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nobody", "there is no model 'nobody'; there are paddle, python, and own ones as FILE.py:CLASS"),
        ("", "there is no model ''"),
        ("a=b", "'a=b' is no model: write NAME=FILE.py:CLASS"),
        ("mine.txt:Mine", "is no model: write FILE.py:CLASS"),
        ("mine.py:", "is no model: write FILE.py:CLASS"),
        (
            "a b=mine.py:Mine",
            "'a b' cannot name a model: use letters, digits, _ . and -, as in NAME=mine.py:Mine",
        ),
        ("../x=mine.py:Mine", "'x=mine' cannot name a model"),
        ("absent.py:Mine", "absent.py cannot be read: No such file or directory"),
        ("pipe.py:Mine", "cannot be read: a pipe or a device"),
    ],
)
def test_what_is_no_reference_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    os.chdir(tmp_path)
    os.mkfifo("pipe.py")
    assert problem in refusal(text)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("x = (", r"cannot be loaded: line 1: '\(' was never closed"),
        ("\0", "cannot be loaded: .*null bytes"),
        (b"\xff", "cannot be loaded: .*(utf|unicode|UTF)"),
        ("import there_is_no_such_module", "cannot be loaded: line 1: ModuleNotFoundError: No module"),
        ("\n\n1 / 0", "cannot be loaded: line 3: ZeroDivisionError: division by zero"),
        ("def f():\n    1 / 0\n\nf()", "cannot be loaded: line 2: ZeroDivisionError"),
        ("import sys\nsys.exit(3)", "cannot be loaded: line 2: SystemExit: 3"),
        ("print('hello')" + OWN, "prints when it is imported"),
        (
            OWN + "import threading as t, time\nt.Thread(target=time.sleep, args=[1], daemon=True).start()",
            "starts a thread when it is imported",
        ),
        ("class Other: pass", "has no class Mine; it has Other"),
        ("class Mine: pass", "Mine in .*mine.py is no model; derive it from Model or LinearRegression"),
        ("Mine = 3", "Mine in .*mine.py is no model"),
        (
            "from job.models.base import LinearRegression\nclass Mine(LinearRegression): pass",
            "Mine in .*mine.py lacks advance",
        ),
    ],
)
def test_a_file_without_a_model_is_refused(tmp_path: Path, content: str | bytes, problem: str) -> None:
    file = tmp_path / "mine.py"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert re.search(problem, refusal(f"{file}:Mine"))


def test_two_models_of_one_name_are_refused(own: Path) -> None:
    with pytest.raises(ModelError, match="two models are named python"):
        load_models(["python", f"python={own}:Mine"])
    with pytest.raises(ModelError, match="at least one model"):
        load_models([])


def test_only_the_named_models_are_loaded() -> None:
    code = (
        "import sys; from job.models.loading import load_models; load_models(['python']);"
        "sys.exit('paddle' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
