"""Loads models: imports frameworks and users' own files, and refuses what is no model."""

from __future__ import annotations

import gc
import hashlib
import io
import logging
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from inspect import isabstract
from pathlib import Path
from types import ModuleType

from db.model_source import DEFAULT_MODELS
from job.errors import ModelError, one_line
from job.models.base import Model
from job.models.reference import BUILT_IN, GROUP, Reference, content_of, parse_all

others: set[str] = set()
"""the models that this process has loaded and that are not built in"""


def load_models(texts: Sequence[str] = DEFAULT_MODELS) -> dict[str, type[Model]]:
    """The models by name, in this order; their frameworks are imported, which is slow. Raises ModelError."""
    references = parse_all(texts)
    with importing():
        return {each.name: load(each) for each in references}


def load(reference: Reference) -> type[Model]:
    """Import one model. Raises ModelError."""
    if reference.source not in BUILT_IN:
        others.add(reference.source)
    if reference.file is not None:
        module = imported(reference.file, content_of(reference.file))
        found = getattr(module, reference.attribute, None)
        if found is None:
            own = [
                name
                for name, value in vars(module).items()
                if getattr(value, "__module__", "") == module.__name__
            ]
            names = ", ".join(own) or "none"
            raise ModelError(f"{reference.file} has no class {reference.attribute}; it has {names}")
        return checked(found, f"{reference.attribute} in {reference.file}")
    if reference.source in BUILT_IN:
        point = EntryPoint(reference.name, BUILT_IN[reference.source][0], GROUP)
    else:
        (point, *_) = entry_points(group=GROUP, name=reference.source)
    try:
        found = point.load()
    except (ImportError, AttributeError) as error:
        hint = "; Debian has it in the package libgomp1" if "libgomp" in str(error) else ""
        raise ModelError(f"the {reference.name} model cannot be loaded: {error}{hint}") from error
    return checked(found, f"the {reference.name} model")


@cache
def imported(file: Path, content: bytes) -> ModuleType:
    """A user's own file as a module; its code runs with the user's rights. Raises ModelError."""
    module = ModuleType(f"epoch_ledger_model_{hashlib.sha256(content).hexdigest()[:16]}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module  # dataclasses and pickle look it up
    printed, threads = io.StringIO(), set(threading.enumerate())
    try:
        with redirect_stdout(printed):
            exec(compile(content, str(file), "exec"), module.__dict__)  # noqa: S102 - it is what --model asks for
    except (Exception, SystemExit) as error:
        raise ModelError(f"the model file {file} cannot be loaded: {where(error, file)}") from error
    if printed.getvalue():
        raise ModelError(
            f"the model file {file} prints when it is imported; a model must not write to stdout"
        )
    if set(threading.enumerate()) - threads:
        raise ModelError(f"the model file {file} starts a thread when it is imported")
    return module


def checked(found: object, what: str) -> type[Model]:
    """`found`, if it is a model's class with all methods. Raises ModelError."""
    if not (isinstance(found, type) and issubclass(found, Model)):
        raise ModelError(f"{what} is no model; derive it from Model or LinearRegression of job.models.base")
    if isabstract(found):
        raise ModelError(f"{what} lacks {', '.join(sorted(found.__abstractmethods__))}")
    return found


def where(error: BaseException, file: Path) -> str:
    """An exception in one line, with the last line of `file` that led to it."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f"line {error.lineno}: {error.msg}"
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)
    ]
    return f"line {lines[-1]}: {one_line(error)}" if lines else one_line(error)


@contextmanager
def importing() -> Iterator[None]:
    """Import frameworks in this context. Ctrl-C raises KeyboardInterrupt, whatever a framework makes of it.

    The root logger stays as it is, Paddle gets no signal handlers, and the collector never scans what was
    imported: a framework has 100,000 lasting objects, and scanning them costs 4 % of a run of 10,000 epochs.
    """
    had_paddle = "paddle" in sys.modules
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    os.environ.setdefault("GLOG_minloglevel", "2")  # Paddle logs how it runs a program; errors remain
    gc.disable()
    try:
        with warnings.catch_warnings():
            # Paddle warns that no compiler cache is installed; only authors of extensions need one.
            warnings.filterwarnings("ignore", message="No ccache found")
            yield
        gc.freeze()
    except Exception as error:
        if interrupted(error):
            raise KeyboardInterrupt from None
        raise
    finally:
        gc.enable()
        root.setLevel(level)
        root.handlers[:] = handlers
        if "paddle" in sys.modules and not had_paddle:
            # Else SIGTERM prints Paddle's own dump. Only now, since this removes our handlers too.
            getattr(sys.modules["paddle"], "disable_signal_handler", lambda: None)()


def interrupted(error: BaseException | None) -> bool:
    """Whether a Ctrl-C led to an exception; Paddle takes one for a broken installation."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None
