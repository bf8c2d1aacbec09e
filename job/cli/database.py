"""`job db`: the schema's version, up and down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from job.cli.options import DEFAULT_DATABASE, DatabaseUrl, make_directory
from job.cli.output import print_line

if TYPE_CHECKING:
    from sqlalchemy import Engine

app = typer.Typer(help="The store's schema: lift it, take it down, say which it is.", no_args_is_help=True)


def engine_for(url: str, create: bool) -> Engine:
    """An engine for a schema command, its place checked like a store's."""
    from pathlib import Path

    from db.engine import create_store_engine, parse_url, sqlite_path
    from db.errors import NotFoundError
    from db.store import check_directory

    parsed = parse_url(url)
    path = sqlite_path(parsed)
    if create and url == DEFAULT_DATABASE:
        make_directory(Path("results"))
    check_directory(path)
    if path and not path.exists() and not create:
        raise NotFoundError(f"there is no store at {path} yet; `job db upgrade` makes one")
    return create_store_engine(parsed)


@app.command()
def upgrade(
    revision: Annotated[str, typer.Argument(help="The revision to lift to.")] = "head",
    database_url: DatabaseUrl = DEFAULT_DATABASE,
) -> None:
    """Make the tables, or lift an older store to this version's schema, keeping its data."""
    from db.migrate import upgrade as lift
    from db.retry import Waiting

    engine = engine_for(database_url, create=True)
    Waiting(engine.url, 60.0, None, print_line)(lambda _: lift(engine, revision))
    print_line(f"the store has schema {version_of(engine)}")


@app.command()
def downgrade(
    revision: Annotated[str, typer.Argument(help="The revision to go down to; `base` removes all.")],
    database_url: DatabaseUrl = DEFAULT_DATABASE,
) -> None:
    """Take the schema down to an older revision; what that one cannot hold is lost."""
    from db.migrate import downgrade as lower
    from db.retry import Waiting

    engine = engine_for(database_url, create=False)
    Waiting(engine.url, 60.0, None, print_line)(lambda _: lower(engine, revision))
    print_line(f"the store has schema {version_of(engine)}")


@app.command()
def current(database_url: DatabaseUrl = DEFAULT_DATABASE) -> None:
    """Print the store's schema and the one that this version needs."""
    from db.version import HEAD

    version = version_of(engine_for(database_url, create=False))
    print_line(f"the store has schema {version}; this version needs {HEAD}")


@app.command()
def check(database_url: DatabaseUrl = DEFAULT_DATABASE) -> int:
    """Say whether the live schema is exactly what this version expects; exit status 1 if not."""
    from db.migrate import differences
    from db.retry import Waiting

    engine = engine_for(database_url, create=False)

    def compare(_: int) -> list[str]:
        with engine.connect() as connection:
            return differences(connection)

    found = Waiting(engine.url, 10.0, None, print_line)(compare)
    for line in found:
        print_line(line)
    print_line("the schema differs" if found else "the schema is what this version expects")
    return 1 if found else 0


def version_of(engine: Engine) -> str:
    """The store's revision in words."""
    from db.retry import Waiting
    from db.version import current as revision

    def ask(_: int) -> str | None:
        with engine.connect() as connection:
            return revision(connection)

    return Waiting(engine.url, 10.0, None, print_line)(ask) or "none"
