"""One project for all the tests, built and trained once, and removed whatever happens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.compose.project import LONG_RUN, Project


@pytest.fixture(scope="session")
def project() -> Iterator[Project]:
    """A project that does not exist yet: no images, no containers, no volumes."""
    made = Project()
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="session")
def first_up(project: Project) -> str:
    """What `docker compose up train` printed in a clean clone."""
    return project.train().stdout


@pytest.fixture(scope="session")
def trained(project: Project, first_up: str) -> Project:
    """The project after its first run, which is run 1."""
    return project


@pytest.fixture(scope="session")
def undisturbed(trained: Project) -> str:
    """The history of run 1, which nothing disturbed."""
    return trained.history(1)


@pytest.fixture(scope="session")
def undisturbed_long(trained: Project) -> str:
    """The history of a run of LONG epochs, which nothing disturbed."""
    trained.train(LONG_RUN)
    return trained.history(trained.number("SELECT max(id) FROM runs"))
