"""`job db`: the schema's version, up and down, a copy of the store, and archived runs as rows again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from db.backends.sqlite import backup as copy
from db.database import Database
from db.engine import shown
from db.errors import NotFoundError, StoreError
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


class AnySchema(Database):
    """An open database, whatever its schema. `migrates`: a statement may take as long as a migration."""

    def __init__(self, url: str, *, create: bool = False, migrates: bool = False) -> None:
        answer_timeout = MIGRATION if migrates else LONGEST_WAIT
        super().__init__(
            url,
            create=create,
            database_timeout=LONGEST_WAIT,
            answer_timeout=answer_timeout,
            log_line=log_line,
        )

    def _open(self, create: bool) -> None:
        """Accept any schema."""

    @property
    def revision(self) -> str:
        """The schema's revision in words."""
        return self.connected(ask) or "none"


@app.command()
def upgrade(
    to: Annotated[str, typer.Argument(metavar="REVISION", help="The revision to upgrade to.")] = "head",
    database_url: DatabaseUrl = DEFAULT_DATABASE,
) -> None:
    """Make the tables, or upgrade an older store's schema and keep its data. Stop the trainers before.

    Then computes the digests of runs of earlier versions; if interrupted, the next upgrade continues.
    """
    from db.migrate import upgrade as lift  # not for `current` and `backup`: Alembic is slow to import

    make_directory_of(database_url)
    with AnySchema(database_url, create=True, migrates=True) as database:
        database.waiting(lambda _: lift(database.engine, to))
        reached = database.revision
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

    with AnySchema(database_url, migrates=True) as database:
        database.waiting(lambda _: lower(database.engine, to))
        print_line(f"the store has schema {database.revision}")


@app.command()
def current(database_url: DatabaseUrl = DEFAULT_DATABASE) -> None:
    """Print the store's schema and the one that this version needs."""
    with AnySchema(database_url) as database:
        print_line(f"the store has schema {database.revision}; this version needs {HEAD}")


@app.command()
def check(database_url: DatabaseUrl = DEFAULT_DATABASE) -> int:
    """Say whether the live schema is exactly what this version expects; exit status 1 if not."""
    from db.migrate import differences

    with AnySchema(database_url) as database:
        found = database.connected(differences)
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
    with AnySchema(database_url) as database:
        if database.path is None:
            url = shown(database.url._replace(password=None))  # pg_dump asks for it, or reads PGPASSWORD
            dump = shlex.join(["pg_dump", "--format=custom", f"--file={file}", url])
            raise StoreError(f"PostgreSQL brings its own: {dump}")
        found = database.revision
        if found == "none":
            raise NotFoundError(f"{database.path} is empty, so there is nothing to back up")
        size = copy(database.engine.url, file)
        print_line(f"{database.path} is backed up to {file}: {size / 1e6:.1f} MB, schema {found}")


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
