"""docker/passwords.sh keeps each role's password, and shows it to nobody. In containers: tests/compose."""

from __future__ import annotations

import os
import re
import stat
import string
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.process
ROLES = ("postgres", "ledger", "ledger_reader")
LETTERS = set(string.ascii_letters + string.digits + "-_=")


class Place:
    """A directory in place of the container's root. What is in it can belong to any user."""

    def __init__(self, directory: Path) -> None:
        self.kept, self.given = directory / "passwords", directory / "secrets"
        text = (ROOT / "docker" / "passwords.sh").read_text()
        own = {"/run/secrets/": f"{self.given}/", "/passwords/": f"{self.kept}/"}
        text = re.sub("/run/secrets/|/passwords/", lambda found: own[found[0]], text)
        self.script = directory / "script"
        self.script.write_text(text)
        self.given.mkdir()
        for role in ROLES:
            (self.kept / role).mkdir(parents=True)
            self.give(role, "")
        (directory / "bin").mkdir()
        self.owners = directory / "owners"
        chown = directory / "bin" / "chown"
        chown.write_text(f'#!/bin/sh\necho "$1" >> {self.owners}\n')
        chown.chmod(0o755)
        self.path = f"{directory / 'bin'}:{os.environ['PATH']}"

    def give(self, role: str, password: str) -> None:
        (self.given / f"{role}_password").write_text(password)

    def run(self, status: int = 0) -> list[str]:
        """What the script says of each role, without its name."""
        done = subprocess.run(
            ["bash", str(self.script)],
            env={"PATH": self.path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
        said = done.stdout + done.stderr
        assert not [password for password in self.passwords().values() if password and password in said]
        return [line.removeprefix("passwords: ").partition(": ")[2] for line in said.splitlines()]

    def passwords(self) -> dict[str, str]:
        files = {role: self.kept / role / "password" for role in ROLES}
        return {role: path.read_text().removesuffix("\n") for role, path in files.items() if path.exists()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_each_role_gets_a_random_password_of_its_own_and_keeps_it(place: Place) -> None:
    assert place.run() == ["a new one, chosen at random"] * 3
    made = place.passwords()
    assert len(set(made.values())) == 3
    assert all(len(password) == 32 and set(password) <= LETTERS for password in made.values())
    assert place.run() == ["as before"] * 3
    assert place.passwords() == made


def test_only_the_job_and_the_server_can_read_a_password(place: Place) -> None:
    place.run()
    assert place.owners.read_text().splitlines() == ["10001:999"] * 3
    files = [place.kept / role / "password" for role in ROLES]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o440] * 3


def test_a_given_password_takes_the_place_of_the_one_before_and_the_database_is_to_be_told(
    place: Place,
) -> None:
    place.give("ledger", "mine")
    assert place.run()[1] == "as given"
    assert place.passwords()["ledger"] == "mine"
    assert place.run()[1] == "as given"
    place.give("ledger", "hers")
    assert place.run()[1] == "another one was given; tell the database: docker compose exec db roles"
    assert place.passwords()["ledger"] == "hers"
    place.give("ledger", "")
    assert place.run()[1] == "as before"
    assert place.passwords()["ledger"] == "hers"


@pytest.mark.parametrize("given", ["two\nlines", "a\ttab"])
def test_what_is_no_password_is_refused_and_nothing_is_changed(place: Place, given: str) -> None:
    place.run()
    before = place.passwords()
    place.give("ledger", given)
    assert place.run(status=2)[1].startswith("the file given for ledger holds more than one line")
    assert place.passwords() == before
