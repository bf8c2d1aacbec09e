"""`docker compose up train` in a clean clone, and what it leaves behind."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.compose.project import ROOT, Project, docker
from tests.matrix import stated

NEWEST = "run_id = (SELECT max(id) FROM runs)"


def test_up_train_brings_up_a_database_migrates_it_and_trains(trained: Project, first_up: str) -> None:
    assert "parity: passed" in first_up
    assert "reference: passed" in first_up
    assert trained.inspect("train")["State"]["ExitCode"] == 0
    assert trained.status(1) == "completed"
    per_model = (
        "SELECT string_agg(n::text, ' ') FROM (SELECT count(*) n FROM epochs GROUP BY run_id, model) t"
    )
    assert trained.value(per_model) == "10000 10000"
    assert dict(re.findall(r"(\w+): digest (\w+)", first_up)) == stated(ROOT / "README.md")
    assert trained.compose("logs", "--no-log-prefix", "migrate").stdout.count("the store has schema") == 1


def test_the_database_has_checksums_on_its_pages(trained: Project) -> None:
    assert trained.value("SHOW data_checksums") == "on"


def test_a_run_records_the_commit_that_its_image_was_built_from(trained: Project) -> None:
    assert trained.value("SELECT environment -> 'git' ->> 'commit' FROM runs") == trained.commit


def test_up_again_is_a_second_run_with_the_same_bits(trained: Project, undisturbed: str) -> None:
    trained.train()
    assert trained.status(2) == "completed"
    assert trained.history(2) == undisturbed


def test_an_own_model_is_trained_from_the_mounted_folder(trained: Project, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)  # the container's user is another
    shutil.copy(ROOT / "examples" / "lists_linear.py", tmp_path / "mine.py")
    own = {"LEDGER_MODELS": str(tmp_path), "JOB_MODELS": "python,/models/mine.py:Mine", "JOB_EPOCHS": "50"}
    assert "parity: passed" in trained.train(own).stdout
    assert trained.value(f"SELECT name, source FROM models WHERE {NEWEST} AND position = 1") == (
        "mine|/models/mine.py:Mine"
    )
    assert trained.number(f"SELECT count(*) FROM epochs WHERE {NEWEST} AND model = 'mine'") == 50


def test_the_trainers_role_owns_its_schema_and_nothing_else(trained: Project) -> None:
    assert trained.value("SELECT rolsuper, rolcreatedb, rolcreaterole, rolbypassrls FROM pg_roles"
        " WHERE rolname = 'ledger'") == "f|f|f|f"  # fmt: skip
    owned = "SELECT string_agg(nspname, ' ') FROM pg_namespace WHERE nspowner = 'ledger'::regrole"
    assert trained.value(owned) == "ledger"
    assert trained.value("SELECT count(*) FROM pg_database WHERE datdba = 'ledger'::regrole") == "0"
    elsewhere = (
        "SELECT count(*) FROM pg_class WHERE relowner = 'ledger'::regrole AND relnamespace NOT IN "
        "('ledger'::regnamespace, 'pg_toast'::regnamespace)"
    )
    assert trained.value(elsewhere) == "0"


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("ledger", "CREATE DATABASE another"),
        ("ledger", "CREATE ROLE another"),
        ("ledger", "CREATE SCHEMA another"),
        ("ledger", "CREATE TABLE public.another (id int)"),
        ("ledger", "SELECT pg_read_file('/run/passwords/postgres/password')"),
        ("ledger", "COPY runs TO PROGRAM 'cat'"),
        ("ledger_reader", "UPDATE runs SET seed = 1"),
        ("ledger_reader", "DELETE FROM epochs"),
        ("ledger_reader", "TRUNCATE verdicts"),
        ("ledger_reader", "CREATE TABLE another (id int)"),
        ("ledger_reader", "SELECT nextval('runs_id_seq')"),
        ("ledger_reader", "SELECT lo_create(0)"),
        ("ledger_reader", "SET ROLE ledger"),
    ],
)
def test_a_role_cannot_do_what_is_not_its_own(trained: Project, role: str, statement: str) -> None:
    done = trained.sql(statement, role, check=False)
    assert done.returncode == 1, done.stdout
    assert "permission denied" in done.stderr


def test_the_reader_reads(trained: Project) -> None:
    query = "SELECT count(*) FROM parameter_history WHERE run_id = 1 AND parameter = 'LSTAT'"
    assert trained.sql(query, "ledger_reader").stdout.strip() == "20000"


@pytest.mark.parametrize("service", ["db", "train", "migrate"])
def test_a_container_has_no_powers(trained: Project, service: str) -> None:
    script = "grep -E '^(Cap(Prm|Eff|Bnd)|NoNewPrivs|Uid)' /proc/self/status"
    text = " ".join(trained.inside(service, script).split())
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert f"{name}: 0000000000000000" in text
    assert "NoNewPrivs: 1" in text
    assert "Uid: 0 " not in text
    assert (
        trained.inside(service, "touch /here /usr/here /var/here 2>&1; true").count("Read-only file system")
        == 3
    )


@pytest.mark.parametrize("service", ["db", "train"])
def test_a_container_has_no_way_out(trained: Project, service: str) -> None:
    networks = list(trained.inspect(service)["NetworkSettings"]["Networks"])
    assert networks == [f"{trained.name}_store"]
    assert docker("network", "inspect", "--format", "{{.Internal}}", *networks).strip() == "true"


def test_passwords_show_nowhere(trained: Project) -> None:
    passwords = trained.passwords()
    assert len(set(passwords)) == 3
    assert min(map(len, passwords)) == 32
    containers = trained.compose("ps", "--all", "--quiet").stdout.split()
    places = {
        "docker inspect": docker("inspect", *containers),
        "the logs": trained.compose("logs").stdout,
        "the configuration": json.dumps(trained.config()),
        "the image's history": docker("history", "--no-trunc", trained.images["job"]),
        "the processes": "".join(
            docker("top", container) for container in trained.compose("ps", "--quiet").stdout.split()
        ),
    }
    for place, text in places.items():
        assert text
        for password in passwords:
            assert password not in text, place


def test_a_password_is_read_by_those_who_need_it_only(trained: Project) -> None:
    listed = trained.inside("train", "stat -c '%a %u' /run/passwords/*/password; ls /run/passwords")
    assert listed.split() == ["440", "10001", "ledger"]
