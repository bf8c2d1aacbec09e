"""Finds a model by its reference: a built-in name, an installed entry point, or a class in a file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from db.input_files import read_regular
from db.model_source import ModelSource
from job.errors import ModelError

if TYPE_CHECKING:  # a bare loop needs no SQLAlchemy
    from db.schema import ModelRow, RunRow

BUILT_IN = {
    "paddle": ("job.models.paddle:PaddleModel", "the notebook's regression with PaddlePaddle"),
    "python": ("job.models.python:PythonModel", "the notebook's regression by hand in NumPy"),
}
"""name to module and class, and what it is"""
GROUP = "epoch_ledger.models"
"""the entry points that are models"""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""a model's name; also a directory's in the mirror"""


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a model is found, before anything of it is loaded."""

    name: str
    source: str
    """a built-in name, an entry point's name, or FILE.py:CLASS with the file's absolute path"""
    file: Path | None = None
    """the model's file, if it is a user's own"""
    attribute: str = ""
    """the class in that file"""


def installed() -> list[tuple[str, str, str]]:
    """Name, place and description of every model that goes by a name. Nothing is imported."""
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return [
        *((name, "built in", about) for name, (_, about) in BUILT_IN.items()),
        *((point.name, point.value, f"from {point.dist.name}" if point.dist else "") for point in points),
    ]


def parse(text: str) -> Reference:
    """The reference that `text` is: NAME, FILE.py:CLASS or NAME=FILE.py:CLASS. Raises ModelError."""
    name, named, place = text.strip().partition("=")
    if not named or "/" in name:  # a directory's name may have a =
        name, named, place = "", "", text.strip()
    file, colon, attribute = place.rpartition(":")
    if not colon:
        if named:
            raise ModelError(f"{text!r} is no model: write NAME=FILE.py:CLASS")
        # Looking through the installed packages takes milliseconds, which a built-in model does not need.
        if place not in BUILT_IN and place not in (known := [name for name, *_ in installed()]):
            raise ModelError(
                f"there is no model {place!r}; there are {', '.join(known)}, and own ones as FILE.py:CLASS"
            )
        return Reference(place, place)
    if not file.endswith(".py") or not attribute.isidentifier():
        raise ModelError(f"{text!r} is no model: write FILE.py:CLASS or NAME=FILE.py:CLASS")
    path = Path(file).absolute()
    name = name or path.stem
    if not NAME.fullmatch(name):
        raise ModelError(
            f"{name!r} cannot name a model: use letters, digits, _ . and -, as in NAME={file}:{attribute}"
        )
    return Reference(name, f"{path}:{attribute}", path, attribute)


def parse_all(texts: Sequence[str]) -> list[Reference]:
    """The references, checked: at least one, and no name twice. Raises ModelError."""
    references = [parse(text) for text in texts]
    if not references:
        raise ModelError("name at least one model")
    names = [each.name for each in references]
    for name in names:
        if names.count(name) > 1:
            raise ModelError(f"two models are named {name}; name one of them with NAME=FILE.py:CLASS")
    return references


def sources(texts: Sequence[str]) -> tuple[ModelSource, ...]:
    """What a run stores of these models; nothing is imported. Raises ModelError."""
    return tuple(ModelSource(each.name, each.source, digest(each)) for each in parse_all(texts))


def reference_of(source: ModelSource | ModelRow) -> str:
    """The text that `parse` makes this model of."""
    return source.source if source.source == source.name else f"{source.name}={source.source}"


def require_unchanged(run: RunRow, remedy: str = "--changed-model goes on all the same") -> None:
    """Raise ModelError, with `remedy`, if a model's file is no longer the one that the run began with."""
    for row, now in zip(run.models, sources([reference_of(row) for row in run.models]), strict=True):
        if row.source_sha256 != now.source_sha256:
            raise ModelError(
                f"the model {row.name} has changed since run {run.id} began: the SHA-256 of {row.source} is "
                f"{now.source_sha256}, and was {row.source_sha256}; {remedy}"
            )


def digest(reference: Reference) -> str | None:
    """The SHA-256 of a model's source file; None for a built-in model, which the git commit tells."""
    file = reference.file
    if file is None:
        if reference.source in BUILT_IN:
            return None
        (point, *_) = entry_points(group=GROUP, name=reference.source)
        try:
            spec = find_spec(point.module)
        except ImportError as error:
            raise ModelError(f"the {reference.name} model cannot be loaded: {error}") from error
        file = Path(spec.origin) if spec and spec.origin else Path(point.module)
    return hashlib.sha256(content_of(file)).hexdigest()


def content_of(file: Path) -> bytes:
    """A model's file. Raises ModelError."""
    try:
        return read_regular(file)
    except OSError as error:
        raise ModelError(f"the model file {file} cannot be read: {error.strerror}") from error
