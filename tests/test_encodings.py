"""Names in any script: databases that cannot hold them are refused, and output never fails on them."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.store import Store
from job.cli import run
from tests.conftest import Job, administer, database_of
from tests.samples import dataset_row, write_csv

NAMES = "房价,é,🏠,y"
C = {"LC_ALL": "C", "PYTHONUTF8": "0"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A table whose columns have NAMES."""
    path = write_csv(tmp_path / "made.csv")
    path.write_text(NAMES + "\n" + path.read_text().partition("\n")[2], encoding="utf-8")
    return path


@pytest.fixture(params=["LATIN1", "SQL_ASCII", "EUC_CN"])
def foreign(request: pytest.FixtureRequest, postgresql_server: str) -> Iterator[tuple[str, str]]:
    """A database with another encoding, and that encoding."""
    name = f"ledger_test_{uuid.uuid4().hex[:12]}"
    options = f"TEMPLATE template0 ENCODING '{request.param}' LOCALE 'C'"
    administer(postgresql_server, f'CREATE DATABASE "{name}" {options}')
    yield name, request.param
    administer(postgresql_server, f'DROP DATABASE "{name}" WITH (FORCE)')
    administer(postgresql_server, f'DROP DATABASE IF EXISTS "{name}_utf8" WITH (FORCE)')


def test_a_database_of_another_encoding_is_refused_with_the_statement_that_helps(
    foreign: tuple[str, str], postgresql_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, encoding = foreign
    url = database_of(postgresql_server, name).render_as_string(hide_password=False)
    for words in (
        ["db", "upgrade"],
        ["db", "check"],
        ["runs"],
        ["train", "--epochs", "1"],
        ["query", "losses"],
    ):
        assert run([*words, "--database-url", url]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith(f"job: error: the encoding of the database {name} is {encoding}, ")
    administer(postgresql_server, err[err.index("CREATE DATABASE") :])
    with Store(url.replace(name, f"{name}_utf8"), create=True) as store:
        assert names_of(store) == NAMES.split(",")[:3]


def names_of(store: Store) -> list[str]:
    """The stored feature names of a run."""
    row = dataset_row()
    for feature, name in zip(row.features, NAMES.split(","), strict=False):
        feature.name = name
    store.start_run(row, epochs=1, learning_rate=0.1, seed=0, environment={"a": 1})
    return [feature.name for feature in store.run().dataset.features]


@pytest.mark.parametrize("backend", ["postgresql"])
def test_the_clients_encoding_does_not_matter(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from db.query import run_query

    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with Store(database_url) as store:
        assert names_of(store) == NAMES.split(",")[:3]
        assert run_query(store.url, "SELECT name FROM features WHERE position = 0").rows == [("房价",)]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_locale_without_characters_fails_nothing(data: Path, database_url: str, job: Job) -> None:
    trained = job(
        *("train", "--epochs", 3, "--data", data, "--database-url", database_url, "--log-dir", "logs"),
        **C,
        JOB_NO_MIRROR="0",
    )
    assert (trained.returncode, "error" in trained.stderr) == (0, False), trained.stderr
    assert r"\u623f\u4ef7" in trained.stdout
    for words in (
        ("runs",),
        ("show", 1),
        ("query", "final-parameters"),
        ("query", "final-parameters", "--format", "csv"),
        ("verify", 1),
        ("report", 1, "--data", data),
        ("plot", 1),
        ("export", 1),
        ("mirror", 1, "--log-dir", "logs"),
    ):
        done = job(*words, "--database-url", database_url, **C)
        assert (done.returncode, "error" in done.stderr) == (0, False), (words, done.stderr)
    for words in (("show", 1), ("query", "final-parameters")):
        done = job(*words, "--json", "--database-url", database_url, **C)
        assert "房价" in json.dumps(json.loads(done.stdout), ensure_ascii=False)
    with Store(database_url) as store:
        assert [feature.name for feature in store.run().dataset.features] == NAMES.split(",")[:3]


@pytest.mark.parametrize(
    "words", [("query", "--sql", "SELECT '房'"), ("query", "房"), ("train", "--target", "房")]
)
def test_words_that_the_locale_cannot_read_are_one_line(
    words: tuple[str, ...], database_url: str, job: Job
) -> None:
    done = job(*words, "--database-url", database_url, **C)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert re.match("job: error: (?!unexpected)", done.stderr)
