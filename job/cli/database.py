"""`job db`: the schema's version, up and down, a copy of the store, and archived runs as rows again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Engine

from db.backends.sqlite import backup as copy
from db.backends.sqlite import reading_url, sqlite_path
from db.database import check_directory
from db.engine import create_store_engine, parse_url, shown
from db.errors import NotFoundError, StoreError
from db.retry import RetryPolicy
from db.version import HEAD
from db.version import current as ask
from job.cli import group
from job.cli.options import DEFAULT_DATABASE, DatabaseUrl, Run, make_directory_of, open_store
from job.cli.output import print_line
from job.log import log_line

app = group()
LONGEST_WAIT = 60.0
"""seconds for a database that is just starting, and for its answer"""
MIGRATION = 3600.0
"""seconds for a statement that rewrites a large store, or that waits for another process to do so"""


@contextmanager
def engine_at(
    url: str, *, create: bool = False, write: bool = False, answer_timeout: float = LONGEST_WAIT
) -> Iterator[tuple[Engine, RetryPolicy]]:
    """An engine, whose path is checked as for a store, and the policy by which its work is retried."""
    parsed = parse_url(url)
    path = sqlite_path(parsed)
    if create:
        make_directory_of(url)
    if path and not path.exists() and not create:
        raise NotFoundError(f"there is no store at {path} yet; `job db upgrade` makes one")
    check_directory(path)
    waiting = RetryPolicy(parsed, LONGEST_WAIT, None, log_line, answer_timeout)
    engine = create_store_engine(parsed if create or write else reading_url(parsed), waiting.gives_up)
    try:
        yield engine, waiting
    finally:
        engine.dispose()


def revision(engine: Engine, waiting: RetryPolicy) -> str:
    """The store's revision in words."""

    def attempt(_: int) -> str | None:
        with engine.connect() as connection:
            return ask(connection)

    return waiting(attempt) or "none"


@app.command()
def upgrade(
    to: Annotated[str, typer.Argument(metavar="REVISION", help="The revision to upgrade to.")] = "head",
    database_url: DatabaseUrl = DEFAULT_DATABASE,
) -> None:
    """Make the tables, or upgrade an older store's schema and keep its data. Stop the trainers before.

    Then computes the digests of runs of earlier versions; if interrupted, the next upgrade continues.
    """
    from db.migrate import upgrade as lift  # not for `current` and `backup`: Alembic is slow to import

    with engine_at(database_url, create=True, answer_timeout=MIGRATION) as (engine, waiting):
        waiting(lambda _: lift(engine, to))
        reached = revision(engine, waiting)
        print_line(f"the store has schema {reached}")
    if reached == HEAD:
        fill_digests(database_url)


def fill_digests(database_url: str) -> None:
    """Compute the digests of runs of earlier versions; say so if there are any."""
    from db.integrity import compute_digests, runs_without_digests  # these load NumPy and the mapper
    from job.cli.progress import counting

    with open_store(database_url) as store:
        waiting, computed = runs_without_digests(store), 0
        with counting("digests of run", len(waiting)) as advance:
            for run_id in waiting:
                fault = compute_digests(store, run_id)
                if fault is None:
                    computed += 1
                else:
                    log_line(f"run {run_id} gets no digest: {fault.detail}")
                advance()
    if computed:
        print_line(f"runs of earlier versions whose digests are computed now: {computed:,}")


@app.command()
def downgrade(
    to: Annotated[str, typer.Argument(metavar="REVISION", help="The older revision; `base` removes all.")],
    database_url: DatabaseUrl = DEFAULT_DATABASE,
) -> None:
    """Take the schema down to an older revision; what that one cannot hold is lost."""
    from db.migrate import downgrade as lower

    with engine_at(database_url, write=True, answer_timeout=MIGRATION) as (engine, waiting):
        waiting(lambda _: lower(engine, to))
        print_line(f"the store has schema {revision(engine, waiting)}")


@app.command()
def current(database_url: DatabaseUrl = DEFAULT_DATABASE) -> None:
    """Print the store's schema and the one that this version needs."""
    with engine_at(database_url) as (engine, waiting):
        print_line(f"the store has schema {revision(engine, waiting)}; this version needs {HEAD}")


@app.command()
def check(database_url: DatabaseUrl = DEFAULT_DATABASE) -> int:
    """Say whether the live schema is exactly what this version expects; exit status 1 if not."""
    from db.migrate import differences

    with engine_at(database_url) as (engine, waiting):

        def compare(_: int) -> list[str]:
            with engine.connect() as connection:
                return differences(connection)

        found = waiting(compare)
    for line in found:
        print_line(line)
    print_line("the schema differs" if found else "the schema is what this version expects")
    return 1 if found else 0


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new file; nothing is overwritten.")],
    database_url: DatabaseUrl = DEFAULT_DATABASE,
) -> None:
    """Copy a SQLite store as it is at one moment, also while a run is live; FILE is a store, too."""
    with engine_at(database_url) as (engine, waiting):
        path = sqlite_path(parse_url(database_url))
        if path is None:
            url = shown(engine.url._replace(password=None))  # pg_dump asks for it, or reads PGPASSWORD
            dump = shlex.join(["pg_dump", "--format=custom", f"--file={file}", url])
            raise StoreError(f"PostgreSQL brings its own: {dump}")
        found = revision(engine, waiting)
        if found == "none":
            raise NotFoundError(f"{path} is empty, so there is nothing to back up")
        size = copy(engine.url, file)
        print_line(f"{path} is backed up to {file}: {size / 1e6:.1f} MB, schema {found}")


@app.command("unarchive")
def put_back(run: Run = "latest", database_url: DatabaseUrl = DEFAULT_DATABASE) -> None:
    """Put the epochs of an archived run back into the table, for SQL and for `job resume`.

    Exit status 1 if the archive is damaged; nothing is changed then.
    """
    from db.archiving import unarchive  # loads NumPy and the mapper

    with open_store(database_url) as store:
        found = store.run(run)
        unarchive(store, found.id)
        print_line(
            f"run {found.id} is no longer archived: {found.epochs:,} epochs of each model are rows again"
        )
