"""A sweep on two workers' containers, one of which is killed."""

from __future__ import annotations

from tests.compose.project import LONG, Project, docker, wait_until

SETTINGS = {"JOB_EPOCHS": str(LONG), "JOB_SEEDS": "0:5", "JOB_SWEEP": "in-containers"}
RUNS = "FROM runs WHERE sweep = 'in-containers'"


def test_a_sweep_survives_the_kill_of_a_worker(trained: Project, undisturbed_long: str) -> None:
    up = ("--profile", "sweep", "up", "--detach", "--scale", "worker=2", "sweep")
    trained.compose(*up, settings=SETTINGS)
    live = f"SELECT count(*) {RUNS} AND status = 'running'"
    wait_until(lambda: trained.number(live) == 2, "a run on each worker", 120)
    first, _ = trained.container("worker").split()
    docker("kill", first)
    wait_until(lambda: trained.inspect("sweep")["State"]["Status"] == "exited", "the sweep's end", 300)
    assert trained.inspect("sweep")["State"]["ExitCode"] == 0
    ended = f"SELECT count(*), count(DISTINCT seed), sum(resumes) {RUNS} AND status = 'completed'"
    assert trained.value(ended) == "5|5|1"
    assert trained.history(trained.number(f"SELECT id {RUNS} AND seed = 0")) == undisturbed_long


def test_a_sweep_trains_an_own_model(trained: Project) -> None:
    own = SETTINGS | {"JOB_EPOCHS": "50", "JOB_SWEEP": "own", "JOB_MODELS": "/models/lists_linear.py:Mine"}
    trained.compose("--profile", "sweep", "run", "--rm", "-T", "sweep", settings=own)
    ended = "FROM models JOIN runs ON runs.id = run_id WHERE sweep = 'own' AND status = 'completed'"
    assert trained.value(f"SELECT name, count(*) {ended} GROUP BY name") == "lists_linear|5"
    trained.compose("--profile", "sweep", "rm", "--stop", "--force", "sweep", "worker", "scheduler")


def test_the_scheduler_has_no_way_out_and_no_password(trained: Project) -> None:
    service = trained.config()["services"]["scheduler"]
    assert list(service["networks"]) == ["store"]
    assert "volumes" not in service
    assert "ports" not in service
