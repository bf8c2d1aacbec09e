"""Passwords changed, backups restored: what docs/operations.md tells an operator to do."""

from __future__ import annotations

from pathlib import Path

from tests.compose.project import ROOT, Project, run


def test_a_wrong_password_is_one_clear_line_and_can_be_put_right(trained: Project, tmp_path: Path) -> None:
    given = tmp_path / "password"
    given.write_text("a password of my own\n")
    mine = {"LEDGER_PASSWORD_FILE": str(given), "JOB_EPOCHS": "50"}

    assert trained.compose("up", "train", check=False, settings=mine).returncode != 0
    said = trained.compose("logs", "--no-log-prefix", "migrate").stdout.splitlines()
    errors = [line for line in said if "error" in line]
    assert len(errors) == 1
    assert 'password authentication failed for user "ledger"' in errors[0]
    assert "a password of my own" not in " ".join(said)

    trained.compose("exec", "-T", "db", "roles")
    trained.train(mine)
    newest = trained.number("SELECT max(id) FROM runs")
    assert trained.value(f"SELECT status, epochs FROM runs WHERE id = {newest}") == "completed|50"


def test_a_backup_restores_into_an_empty_machine(trained: Project, undisturbed: str, tmp_path: Path) -> None:
    backup = tmp_path / "ledger.dump"
    runs = trained.value("SELECT count(*), max(id) FROM runs")
    prefix = ["docker", "compose", "-p", trained.name, "--env-file", "/dev/null", "exec", "-T", "db"]
    where = {"cwd": ROOT, "env": trained.environment}
    with backup.open("wb") as out:
        done = run([*prefix, "pg_dump", "-U", "postgres", "-Fc", "ledger"], **where, stdout=out)
    trained.compose("down", "--volumes")
    trained.compose("up", "--detach", "--wait", "db")
    assert trained.value("SELECT count(*) FROM pg_class WHERE relname = 'epochs'") == "0"
    restore = [
        "pg_restore",
        "-U",
        "postgres",
        "-d",
        "ledger",
        "--clean",
        "--if-exists",
        "--single-transaction",
    ]
    with backup.open("rb") as dump:
        done = run([*prefix, *restore], **where, stdin=dump)
    assert (done.returncode, done.stderr) == (0, "")

    assert trained.value("SELECT count(*), max(id) FROM runs") == runs
    assert trained.history(1) == undisturbed
    trained.train({"JOB_EPOCHS": "50"})
    assert trained.number("SELECT max(id) FROM runs") == int(runs.split("|")[1]) + 1
    assert (
        trained.sql("SELECT count(*) FROM epochs WHERE run_id = 1", "ledger_reader").stdout.strip() == "20000"
    )
    assert (
        "what this version expects" in trained.compose("run", "--rm", "-T", "migrate", "db", "check").stdout
    )
