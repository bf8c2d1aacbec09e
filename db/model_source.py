"""The models of a run as the store names them."""

from __future__ import annotations

from typing import NamedTuple


class ModelSource(NamedTuple):
    """A model of a run, and where its code comes from."""

    name: str
    source: str
    """the reference that names it; of a built-in model its name"""
    source_sha256: str | None = None
    """of the source file, in hexadecimal; None for a built-in model"""

    @property
    def class_name(self) -> str:
        """The class in the source file; of a model that goes by a name, the name."""
        return self.source.rpartition(":")[2]

    @property
    def compared(self) -> tuple[str, str | None, str]:
        """What tells two models apart: the name and, of a file, its SHA-256 and the class, not its place."""
        return self.name, self.source_sha256, self.class_name if self.source_sha256 else self.source


DEFAULT_MODELS = ("paddle", "python")
"""the models of a run if none are named: built-in ones; the others are compared with the first"""
DEFAULT_SOURCES = tuple(ModelSource(name, name) for name in DEFAULT_MODELS)
