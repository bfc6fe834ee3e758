"""`cove db` on an SQLite file, and the refusals of `cove server`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cove.cli.main import app
from cove.daemon.pidfile import PidFile
from cove.db.backend import backend_of
from cove.db.migrations import HEAD_REVISION
from cove.errors import CoveError


class Machine:
    def __init__(self, directory: Path) -> None:
        self.path = directory / "cove.sqlite"
        self.run_dir = directory / "run"
        self.environment = {
            "COVE_STATE_DIR": str(directory),
            "COVE_RUN_DIR": str(self.run_dir),
            "COVE_CONFIG_FILE": str(directory / "none.toml"),
        }

    def cove(self, *words: str) -> Result:
        return CliRunner().invoke(app, list(words), env=self.environment)

    def refusal(self, *words: str) -> str:
        result = self.cove(*words)
        assert isinstance(result.exception, CoveError), result.output
        return str(result.exception)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.delenv("COVE_DATABASE_URL", raising=False)
    return Machine(tmp_path)


@pytest.fixture
def made(machine: Machine) -> Machine:
    backend_of(f"sqlite:///{machine.path}").prepare()
    return machine


def test_current(machine: Machine) -> None:
    assert machine.cove("db", "current").output == f"empty (newest: {HEAD_REVISION})\n"
    assert not machine.path.exists()
    backend_of(f"sqlite:///{machine.path}").prepare()
    assert machine.cove("db", "current").output == f"{HEAD_REVISION} (newest: {HEAD_REVISION})\n"


def test_down_and_up_again(made: Machine) -> None:
    down = made.cove("db", "downgrade", "--to", "0001")
    assert down.exit_code == 0
    assert "-0002 Networking v2.0" in down.output
    assert made.cove("db", "current").output == f"0001 (newest: {HEAD_REVISION})\n"
    to = made.cove("db", "upgrade", "--to", "0002")
    assert "+0002" in to.output
    assert made.cove("db", "upgrade").exit_code == 0
    assert made.cove("db", "upgrade").output.endswith(f"has revision {HEAD_REVISION} already\n")
    assert made.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("downgrade",), "say which revision"),
        (("downgrade", "--to", "0000"), "no schema revision '0000'"),
        (("upgrade", "--to", "0001"), "use `cove db downgrade --to 0001`"),
        (("upgrade", "--to", "zzzz"), "no schema revision 'zzzz'"),
    ],
)
def test_refusals(made: Machine, words: tuple[str, ...], says: str) -> None:
    assert says in made.refusal("db", *words)
    assert made.cove("db", "current").output.startswith(HEAD_REVISION)


def test_a_downgrade_of_a_lower_one_is_an_upgrade(made: Machine) -> None:
    made.cove("db", "downgrade", "--to", "0001")
    assert "use `cove db upgrade --to 0002`" in made.refusal("db", "downgrade", "--to", "0002")


def test_not_under_a_server_that_runs(made: Machine) -> None:
    made.run_dir.mkdir()
    pid_file = PidFile(made.run_dir / "cove.pid")
    pid_file.acquire()
    assert f"Cove is running (pid {os.getpid()})" in made.refusal("db", "downgrade", "--to", "0001")
    pid_file.release()


def test_there_is_no_database_yet(machine: Machine) -> None:
    assert "`cove up` makes it" in machine.refusal("db", "upgrade")


def test_server_by_itself_needs_postgresql(machine: Machine) -> None:
    message = machine.refusal("server")
    assert "set database_url (COVE_DATABASE_URL) to postgresql://" in message
    assert "`cove server list`" in message


def test_server_with_words_is_about_vms(machine: Machine) -> None:
    result = machine.cove("server", "list")
    assert result.exit_code != 0
    assert "postgresql" not in result.output + str(result.exception)
