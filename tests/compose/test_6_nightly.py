"""Nights by a container's clock: a minute cron, a killed night, a missed one."""

from __future__ import annotations

import json

from tests.compose.project import Project, run, wait_until

EVERY_MINUTE = {
    "JOB_CRON": "* * * * *",
    "JOB_EPOCHS": "300",
    "JOB_MODELS": "python,/models/lists_linear.py:Mine",
    "JOB_FAIL_ON": "parity",
    "JOB_LOG_FORMAT": "json",
}
ENDLESS = EVERY_MINUTE | {"JOB_EPOCHS": "2000000"}
NIGHTS = "FROM scheduled_runs s JOIN runs ON runs.id = s.run_id WHERE trigger = 'nightly' AND runs.status = "


def completed(project: Project) -> int:
    """How many nights ended well."""
    return project.number(f"SELECT count(*) {NIGHTS} 'completed'")


def start(project: Project, settings: dict[str, str]) -> None:
    project.compose("--profile", "nightly", "up", "--detach", "nightly", settings=settings)


def health(project: Project) -> str:
    return str(project.inspect("nightly")["State"]["Health"]["Status"])


def test_nights_come_by_the_minute_and_have_the_same_bits(trained: Project) -> None:
    start(trained, EVERY_MINUTE)
    wait_until(lambda: completed(trained) >= 2, "two nights", 180)
    drift = "SELECT passed FROM verdicts WHERE kind = 'drift' ORDER BY id DESC LIMIT 1"
    wait_until(lambda: trained.value(drift) == "t", "the second night's verdict", 30)
    own = "SELECT count(*) FROM models JOIN runs ON id = run_id WHERE trigger = 'nightly' AND source ~ '/'"
    assert trained.number(own) >= 2
    wait_until(lambda: health(trained) == "healthy", "the scheduler's health", 60)
    said = run(["docker", "logs", trained.container("nightly")]).stderr
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert {"schedule", "verdict"} <= {event["event"] for event in events}


def test_a_night_killed_with_its_scheduler_does_not_block_the_next(trained: Project) -> None:
    trained.compose("rm", "--stop", "--force", "nightly")
    start(trained, ENDLESS)
    live = f"SELECT runs.id {NIGHTS} 'running'"
    wait_until(lambda: trained.value(live), "a night that lasts", 120)
    killed = trained.number(live)
    wait_until(lambda: trained.number(f"SELECT count(*) FROM epochs WHERE run_id = {killed}") > 500, "epochs")
    trained.compose("kill", "--signal", "KILL", "nightly")
    before = completed(trained)
    start(trained, EVERY_MINUTE)
    wait_until(lambda: completed(trained) > before, "the next night", 180)
    assert trained.status(killed) == "crashed"


def test_the_health_check_fails_once_a_night_was_missed(trained: Project) -> None:
    wait_until(lambda: health(trained) == "healthy", "the scheduler's health", 90)
    columns = "schedule, due_at, status, created_at"
    missed = f"INSERT INTO scheduled_runs ({columns}) VALUES ('by hand', now() - interval"
    trained.sql(f"{missed} '1 hour', 'due', now())")
    check = trained.compose("exec", "-T", "nightly", "python", "-m", "job", "nights", "--check", check=False)
    assert check.returncode == 1
    assert "has not begun" in check.stdout
    wait_until(lambda: health(trained) == "unhealthy", "the health check's failure", 120)
    trained.sql("DELETE FROM scheduled_runs WHERE schedule = 'by hand'")


def test_a_stopped_scheduler_ends_at_once(trained: Project) -> None:
    trained.compose("stop", "nightly")
    assert trained.inspect("nightly")["State"]["ExitCode"] == 143
