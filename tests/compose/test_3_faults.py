"""What happens to a container in mid-run costs no epoch and changes no bit."""

from __future__ import annotations

from tests.compose.project import LONG, LONG_RUN, Project, wait_until

KILL_THE_OTHERS = """
import os, signal
for name in os.listdir("/proc"):
    if name.isdigit() and int(name) not in (1, os.getpid()):
        os.kill(int(name), signal.SIGKILL)
"""


def test_a_killed_trainer_is_taken_up_again(trained: Project, undisturbed_long: str) -> None:
    run = trained.start_training()
    trained.compose("kill", "--signal", "KILL", "train")
    assert trained.status(run) == "running", "a killed process cannot say goodbye"
    stored = trained.number(f"SELECT count(*) FROM epochs WHERE run_id = {run}")
    assert 0 < stored < 2 * LONG
    assert f"run {run} resumes at epoch" in trained.train(LONG_RUN).stderr
    assert trained.history(run) == undisturbed_long
    assert trained.value(f"SELECT status, resumes FROM runs WHERE id = {run}") == "completed|1"


def test_a_killed_trainer_of_an_own_model_is_taken_up_again(trained: Project) -> None:
    own = {"JOB_EPOCHS": "9000", "JOB_MODELS": "python,/models/lists_linear.py:Mine"}
    trained.train(own)
    undisturbed = trained.number("SELECT max(id) FROM runs")
    run = trained.start_training(own)
    trained.compose("kill", "--signal", "KILL", "train")
    trained.train(own)
    assert trained.value(f"SELECT status, resumes FROM runs WHERE id = {run}") == "completed|1"
    assert trained.history(run) == trained.history(undisturbed)


def test_a_trainer_that_dies_is_restarted_and_goes_on(trained: Project, undisturbed_long: str) -> None:
    run = trained.start_training()
    trained.compose("exec", "-T", "train", "python", "-c", KILL_THE_OTHERS, check=False)
    assert trained.wait_for_trainer() == 0
    assert trained.history(run) == undisturbed_long
    assert trained.status(run) == "completed"
    assert trained.inspect("train")["RestartCount"] == 1


def test_a_run_that_diverges_is_trained_once(trained: Project) -> None:
    before = trained.number("SELECT count(*) FROM runs")
    trained.compose("up", "--detach", "train", settings={"JOB_EPOCHS": "50", "JOB_LEARNING_RATE": "1e30"})
    wait_until(lambda: trained.inspect("train")["RestartCount"] == 3, "the third restart", 180)
    assert trained.wait_for_trainer() == 1
    assert trained.number("SELECT count(*) FROM runs") == before + 1
    assert "diverged, as another would" in trained.compose("logs", "train").stdout


def test_a_stopped_trainer_says_interrupted_and_can_be_resumed(
    trained: Project, undisturbed_long: str
) -> None:
    run = trained.start_training()
    trained.compose("stop", "train")
    assert trained.status(run) == "interrupted"
    assert trained.inspect("train")["State"]["ExitCode"] == 143
    assert f"job resume {run}" in trained.compose("logs", "train").stdout
    trained.train(LONG_RUN)
    assert trained.history(run) == undisturbed_long


def test_a_restarted_database_costs_nothing(trained: Project, undisturbed_long: str) -> None:
    run = trained.start_training()
    assert trained.status(run) == "running"
    trained.compose("restart", "db")
    assert trained.wait_for_trainer() == 0
    assert trained.history(run) == undisturbed_long
    assert trained.value(f"SELECT status, resumes FROM runs WHERE id = {run}") == "completed|0"


def test_a_killed_database_costs_nothing(trained: Project, undisturbed_long: str) -> None:
    run = trained.start_training()
    assert trained.status(run) == "running"
    trained.compose("kill", "--signal", "KILL", "db")
    trained.compose("up", "--detach", "db")
    assert trained.wait_for_trainer() == 0
    assert trained.history(run) == undisturbed_long


def test_down_and_up_keep_the_history(trained: Project, undisturbed: str) -> None:
    before = trained.value("SELECT count(*), max(id) FROM runs")
    passwords = trained.passwords()
    trained.compose("down")
    trained.compose("up", "--detach", "--wait", "db")
    assert trained.value("SELECT count(*), max(id) FROM runs") == before
    assert trained.history(1) == undisturbed
    assert trained.passwords() == passwords
