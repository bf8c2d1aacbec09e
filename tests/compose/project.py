"""A compose project of the tests' own: its own name, images, volumes and port, and no settings of yours."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OURS = ("JOB_", "LEDGER_", "COMPOSE_", "POSTGRES_", "PG")
LONG = 40_000
"""epochs of the runs that are disturbed: enough to be in mid-run for as long as a fault takes"""
Settings = Mapping[str, str]
LONG_RUN: Settings = {"JOB_EPOCHS": str(LONG)}
NONE: Settings = MappingProxyType({})
Done = subprocess.CompletedProcess[str]

HISTORY = """
    SELECT md5(string_agg(concat_ws(' ', model, epoch, train_loss, test_loss, parameters), E'\\n'
        ORDER BY model, epoch)), count(*)
    FROM epochs WHERE run_id = {run}
"""


def run(command: list[str], **options: Any) -> Done:
    """Run a command and give back what it said, whether it failed or not."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.run(command, text=True, check=False, **(pipes | options))


def docker(*arguments: str) -> str:
    """What a docker command printed. Raises AssertionError with its complaint where it failed."""
    done = run(["docker", *arguments])
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr or done.stdout}"
    return done.stdout


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait until a condition holds. Raises AssertionError, naming `what`, where it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)


class Project:
    """The compose file of this checkout, run under a name of its own with an empty .env."""

    def __init__(self) -> None:
        self.name = f"ledger-test-{uuid.uuid4().hex[:8]}"
        self.port = free_port()
        self.commit = uuid.uuid4().hex + "00000000"
        self.images = {target: f"epoch-ledger/{target}:{self.name}" for target in ("job", "dashboard")}
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(OURS)
        } | {
            "LEDGER_JOB_IMAGE": self.images["job"],
            "LEDGER_DASHBOARD_IMAGE": self.images["dashboard"],
            "LEDGER_PORT": str(self.port),
            "JOB_GIT_COMMIT": self.commit,
            # How long a killed trainer's run is watched before it is taken over; the default is a minute.
            "JOB_HEARTBEAT_TIMEOUT": "5",
        }

    def compose(self, *arguments: str, check: bool = True, settings: Settings = NONE) -> Done:
        """`docker compose` with these arguments. Raises AssertionError where it fails, unless told not to."""
        prefix = [
            "docker",
            "compose",
            "--ansi",
            "never",
            "--project-name",
            self.name,
            "--env-file",
            "/dev/null",
        ]
        done = run([*prefix, *arguments], cwd=ROOT, env=self.environment | dict(settings))
        assert not check or done.returncode == 0, (
            f"docker compose {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
        return done

    def config(self) -> dict[str, Any]:
        """The compose file as `docker compose config` understands it, every profile in it."""
        done = self.compose("--profile", "*", "config", "--format", "json")
        return dict(json.loads(done.stdout))

    def train(self, settings: Settings = NONE) -> Done:
        """`docker compose up train`, as a user types it."""
        return self.compose("up", "train", settings=settings)

    def start_training(self, settings: Settings = LONG_RUN) -> int:
        """Start a run in the background; gives its id once it has stored some epochs."""
        newest = "SELECT coalesce(max(id), 0) FROM runs"
        before = self.number(newest)
        self.compose("up", "--detach", "train", settings=settings)
        begun = f"SELECT count(*) FROM epochs WHERE run_id > {before}"
        wait_until(lambda: self.number(begun) > 500, "the first epochs of a new run")
        return self.number(newest)

    def wait_for_trainer(self) -> int:
        """Wait for the trainer's container to end for good; its exit status."""
        wait_until(
            lambda: self.inspect("train")["State"]["Status"] == "exited", "the end of the training", 300
        )
        return int(self.inspect("train")["State"]["ExitCode"])

    def container(self, service: str) -> str:
        """The id of a service's container, running or not."""
        return self.compose("ps", "--all", "--quiet", service).stdout.strip()

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine knows of a service's container."""
        return dict(json.loads(docker("inspect", self.container(service)))[0])

    def sql(self, statement: str, role: str = "postgres", check: bool = True) -> Done:
        """One statement run in the database's container; rows come unaligned."""
        psql = ["psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-U", role, "-d", "ledger", "-c", statement]
        return self.compose("exec", "-T", "db", *psql, check=check)

    def value(self, query: str) -> str:
        """The one row of a query, its columns joined by `|`."""
        return self.sql(query).stdout.strip()

    def number(self, query: str) -> int:
        """The one whole number that a query gives."""
        return int(self.value(query))

    def history(self, run: int) -> str:
        """A digest of every bit that a run has stored, and the number of its rows."""
        return self.value(HISTORY.format(run=run))

    def status(self, run: int) -> str:
        """The status of a run in the store."""
        return self.value(f"SELECT status FROM runs WHERE id = {run}")

    def inside(self, service: str, script: str) -> str:
        """What a shell script prints in a fresh container of a service."""
        command = ["run", "--rm", "--no-deps", "-T", "--entrypoint", "sh", service, "-c", script]
        return self.compose(*command).stdout

    def passwords(self) -> list[str]:
        """The passwords in force, which must show nowhere else."""
        return self.compose(
            "exec", "-T", "db", "sh", "-c", "head -n 9 -q /run/passwords/*/password"
        ).stdout.split()

    def remove(self) -> None:
        """Remove every container, network, volume and image of the project."""
        self.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "5", check=False)
        run(["docker", "image", "rm", "--force", *self.images.values()])
