"""The safety of each container, as docker-compose.yml sets it by default. Needs no engine."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from job import __version__
from job.cli import load
from job.cli.options import DEFAULT_LOG_DIR
from tests.conftest import ROOT

Service = dict[str, Any]
TEXT = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (ROOT / "docker-compose.yml").read_text())
COMPOSE = yaml.safe_load(TEXT)
SERVICES: dict[str, Service] = COMPOSE["services"]
JOBS = {"migrate", "train", "nightly", "sweep", "worker"}
"""services that write to the store"""
READERS = {"visualdl", "query"}
NAMES = {"passwords", "db", "scheduler"} | JOBS | READERS


def each(key: str, missing: object = None) -> dict[str, Any]:
    """The value of a key in each service."""
    return {name: service.get(key, missing) for name, service in SERVICES.items()}


def of_those_that_have(key: str) -> dict[str, Any]:
    return {name: service[key] for name, service in SERVICES.items() if key in service}


def mounts(service: Service) -> dict[str, tuple[str, bool]]:
    """Source, and whether it is read-only, of each mounted path."""
    parts = [volume.split(":") for volume in service.get("volumes", [])]
    return {path: (source, mode == ["ro"]) for source, path, *mode in parts}


def test_these_are_the_services() -> None:
    assert set(SERVICES) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_service_is_locked_down(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert service["pids_limit"] <= 128
    assert service["mem_limit"] in ("64m", "512m", "1g")
    assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}
    assert all("size=" in place for place in service["tmpfs"] if place.startswith("/tmp"))
    keys = {
        *("read_only", "cap_drop", "cap_add", "security_opt", "init", "pids_limit", "mem_limit", "logging"),
        *("image", "build", "profiles", "entrypoint", "command", "user", "environment", "labels", "secrets"),
        *("network_mode", "networks", "ports", "tmpfs", "shm_size", "volumes", "depends_on", "healthcheck"),
        *("restart", "stop_grace_period"),
    }
    assert set(service) <= keys, "does this key widen what the container may do?"


def test_the_only_root_container_has_two_capabilities_and_no_network() -> None:
    assert of_those_that_have("user") == {"passwords": "0:0", "db": "999:999"}
    assert of_those_that_have("cap_add") == {"passwords": ["CHOWN", "DAC_OVERRIDE"]}
    assert of_those_that_have("network_mode") == {"passwords": "none"}


def test_the_images_users_are_not_root() -> None:
    users = {"python:3.11-slim-bookworm": "0:0"}
    stage = ""
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("FROM "):
            _, base, _, stage = line.split()
            users[stage] = users[base]
        elif line.startswith("USER "):
            users[stage] = line.split()[1]
    assert {
        name: users[service["build"]["target"]] for name, service in SERVICES.items() if "build" in service
    } == (dict.fromkeys(JOBS | READERS | {"scheduler"}, "10001:10001"))


def test_the_stores_network_has_no_way_out_and_only_these_have_another() -> None:
    assert COMPOSE["networks"] == {"store": {"internal": True}, "web": None}
    only_store = {name: ["store"] for name in NAMES}
    assert each("networks") == only_store | {
        "passwords": None,
        "visualdl": ["store", "web"],
        "nightly": ["store", "web"],
    }


def test_only_visualdl_publishes_a_port_and_only_on_loopback() -> None:
    assert of_those_that_have("ports") == {"visualdl": ["127.0.0.1:8040:8040"]}


def test_only_these_mounts_can_be_written() -> None:
    writable = {
        (name, source)
        for name, service in SERVICES.items()
        for source, read_only in mounts(service).values()
        if not read_only
    }
    assert writable == {
        ("passwords", "postgres-password"),
        ("passwords", "ledger-password"),
        ("passwords", "ledger-reader-password"),
        ("db", "database"),
        ("train", "logs"),
        ("nightly", "logs"),
        ("visualdl", "logs"),
    }


def test_a_service_that_trains_sees_the_users_models_and_cannot_change_them() -> None:
    seen = {name: mounts(service).get("/models") for name, service in SERVICES.items()}
    trainers = ("train", "nightly", "sweep", "worker")
    assert seen == dict.fromkeys(NAMES) | dict.fromkeys(trainers, ("./examples", True))
    assert (ROOT / "examples" / "lists_linear.py").is_file(), "the default is there in a clean clone"
    named = {name for name, service in SERVICES.items() if "JOB_MODELS" in (service.get("environment") or {})}
    assert named == {"train", "nightly", "sweep"}, "a sweep tells its workers"


def test_a_service_sees_the_password_that_it_needs_and_no_other() -> None:
    lease_holder = {
        name: {source for source, _ in mounts(service).values() if source.endswith("password")}
        for name, service in SERVICES.items()
    }
    everything = {"postgres-password", "ledger-password", "ledger-reader-password"}
    assert lease_holder == (
        {name: {"ledger-password"} for name in JOBS}
        | {name: {"ledger-reader-password"} for name in READERS}
        | {"passwords": everything, "db": everything, "scheduler": set()}
    )


def test_given_passwords_are_seen_by_the_passwords_service_alone() -> None:
    secrets = ["postgres_password", "ledger_password", "ledger_reader_password"]
    assert of_those_that_have("secrets") == {"passwords": secrets}
    assert COMPOSE["secrets"] == {name: {"file": "./docker/no-password"} for name in secrets}
    assert (ROOT / "docker" / "no-password").read_bytes() == b""


def test_no_password_stands_in_an_environment() -> None:
    settings = {name: set(service.get("environment") or {}) for name, service in SERVICES.items()}
    found = {(name, key) for name, keys in settings.items() for key in keys if "PASS" in key}
    expected = {(name, "JOB_DATABASE_PASSWORD_FILE") for name in JOBS | READERS}
    assert found == expected | {("db", "POSTGRES_PASSWORD_FILE")}
    assert not re.search(r"postgresql://\w+:", TEXT)


@pytest.mark.parametrize("name", sorted(JOBS | READERS))
def test_a_reader_connects_as_a_role_that_cannot_write(name: str) -> None:
    role = "ledger" if name in JOBS else "ledger_reader"
    environment = SERVICES[name]["environment"]
    assert environment["JOB_DATABASE_URL"] == f"postgresql://{role}@db/ledger"
    (directory,) = (path for path in mounts(SERVICES[name]) if path.startswith("/run/passwords"))
    assert (
        environment["JOB_DATABASE_PASSWORD_FILE"]
        == f"{directory}/password"
        == f"/run/passwords/{role}/password"
    )


def test_the_database_checks_its_pages_and_asks_for_passwords() -> None:
    assert SERVICES["db"]["image"] == SERVICES["passwords"]["image"] == "postgres:17-trixie"
    arguments = SERVICES["db"]["environment"]["POSTGRES_INITDB_ARGS"].split()
    assert arguments == ["--auth-host=scram-sha-256", "--data-checksums"]
    assert "POSTGRES_HOST_AUTH_METHOD" not in SERVICES["db"]["environment"]


def test_what_fails_is_restarted_and_what_ends_is_not() -> None:
    always = dict.fromkeys(["db", "nightly", "worker", "scheduler", "visualdl"], "unless-stopped")
    assert of_those_that_have("restart") == always | {"train": "on-failure:3"}
    assert SERVICES["train"]["command"] == ["train", "--resume"], "a restarted trainer goes on with its run"


def test_a_stop_leaves_time_to_store_what_is_at_work() -> None:
    seconds = {
        name: int(given.removesuffix("s")) for name, given in of_those_that_have("stop_grace_period").items()
    }
    assert seconds["db"] >= 60
    assert min(seconds[name] for name in ("train", "nightly", "worker")) >= 15
    assert seconds["sweep"] > seconds["worker"], "a sweep waits for its workers"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("db", ["pg_isready", "--host=127.0.0.1", "--username=ledger", "--dbname=ledger"]),
        ("nightly", ["job", "nights", "--check"]),
        ("scheduler", ["127.0.0.1", "8786"]),
        ("visualdl", ["http://127.0.0.1:8040/alive"]),
    ],
)
def test_a_service_that_stays_is_asked_whether_it_works(name: str, words: list[str]) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert all(word in " ".join(check["test"]) for word in words)
    assert check["retries"] <= 20
    assert {"interval", "timeout", "start_period"} <= set(check)
    assert set(of_those_that_have("healthcheck")) == {"db", "nightly", "scheduler", "visualdl"}


def test_nothing_begins_before_what_it_needs() -> None:
    needs = {
        name: {other: condition["condition"].removeprefix("service_") for other, condition in given.items()}
        for name, given in of_those_that_have("depends_on").items()
    }
    migrated = {"db": "healthy", "migrate": "completed_successfully"}
    assert needs == {
        "db": {"passwords": "completed_successfully"},
        "migrate": {"db": "healthy"},
        "train": migrated,
        "nightly": migrated,
        "sweep": migrated | {"worker": "started"},
        "worker": {"scheduler": "healthy"},
        "visualdl": migrated,
        "query": {"db": "healthy"},
    }


def test_up_without_a_profile_starts_neither_nights_nor_sweeps() -> None:
    assert of_those_that_have("profiles") == {
        "nightly": ["nightly"],
        "sweep": ["sweep"],
        "worker": ["sweep"],
        "scheduler": ["sweep"],
        "query": ["query"],
    }


def test_env_example_documents_every_setting() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    used = set(re.findall(r"\$\{(\w+)", text)) | set(re.findall(r"^ +(JOB_\w+):$", text, re.MULTILINE))
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert used == {
        line.lstrip("# ").partition("=")[0] for line in lines if line.startswith(("# JOB_", "# LEDGER_"))
    }


def test_each_service_does_what_its_name_says() -> None:
    assert of_those_that_have("command") == {
        "migrate": ["db", "upgrade"],
        "train": ["train", "--resume"],
        "nightly": ["nightly"],
        "sweep": ["sweep"],
        "worker": ["worker", "tcp://scheduler:8786"],
        "scheduler": ["--port", "8786", "--no-dashboard", "--no-show"],
        "visualdl": ["dashboard", "--host", "0.0.0.0", "--port", "8040"],
        "query": ["--list"],
    }
    assert SERVICES["sweep"]["environment"]["JOB_SCHEDULER"] == SERVICES["worker"]["command"][1]
    assert of_those_that_have("entrypoint") == {
        "passwords": ["/bin/bash", "/passwords.sh"],
        "scheduler": ["python", "-m", "distributed.cli.dask_scheduler"],
        "query": ["python", "-m", "job", "query"],
    }
    targets = {name: service["build"]["target"] for name, service in SERVICES.items() if "build" in service}
    without_paddle = dict.fromkeys(READERS, "dashboard")
    assert targets == dict.fromkeys(JOBS | {"scheduler"}, "job") | without_paddle


def test_what_is_to_be_kept_is_mounted_where_it_is_written_and_read() -> None:
    assert mounts(SERVICES["db"])["/var/lib/postgresql/data"] == ("database", False)
    assert mounts(SERVICES["db"])["/docker-entrypoint-initdb.d/roles.sh"] == ("./docker/roles.sh", True)
    (directory,) = re.findall(r"^WORKDIR (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for name in ("train", "nightly", "visualdl"):
        assert mounts(SERVICES[name])[f"{directory}/{DEFAULT_LOG_DIR.parent}"] == ("logs", False)
    for name in ("train", "nightly", "sweep"):
        assert mounts(SERVICES[name])["/data"] == ("./data", True)
    assert set(COMPOSE["volumes"]) == {
        source for service in SERVICES.values() for source, _ in mounts(service).values() if source[0] != "."
    }


@pytest.mark.parametrize(
    ("name", "command", "elsewhere"),
    [
        ("train", "train", {"JOB_LOG_DIR"}),
        ("nightly", "nightly", {"JOB_LOG_DIR"}),
        ("sweep", "sweep", set()),
        ("worker", "worker", {"JOB_SCHEDULER"}),
        ("visualdl", "dashboard", {"JOB_LOG_DIR", "JOB_DASHBOARD_HOST", "JOB_DASHBOARD_PORT"}),
    ],
)
def test_a_service_passes_every_setting_of_its_command_on(
    name: str, command: str, elsewhere: set[str]
) -> None:
    settings = {parameter.envvar for parameter in load(command).params} - {None}
    assert settings - set(SERVICES[name]["environment"]) == elsewhere


def test_what_is_installed_in_the_images_has_a_hash_and_the_labels_have_the_version() -> None:
    text = (ROOT / "Dockerfile").read_text()
    lines = text.replace("\\\n", " ").splitlines()
    installed = [line for line in lines if "pip" in line and " install " in line and ".lock" in line]
    assert len(installed) == 3
    assert all({"--require-hashes", "--no-deps"} <= set(line.split()) for line in installed)
    assert re.findall(r'image\.version="(.+?)"', text) == [__version__] * 2
