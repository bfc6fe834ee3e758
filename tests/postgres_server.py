"""A real PostgreSQL server that is thrown away: made in a temporary directory, run as an unprivileged user.

    with PostgresServer() as server:
        url = server.create_database("some")

It listens on a socket in its directory and on a free port of the loopback address, can be stopped, killed and started
again, and is gone with its data afterwards.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
PASSWORD = "s3cret/pass@word"
"""Characters that have to be quoted in a URL are in it on purpose."""
UNSAFE = {"fsync": "off", "full_page_writes": "off"}
"""For tests that look at no crash of the machine: no waiting for the disk."""


def find_program(name: str) -> Path | None:
    """Where a program of PostgreSQL's is: in PATH, or where Debian puts it; the newest version's."""
    places = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: int(p.parts[-3].split(".")[0]), reverse=True
    )
    found = shutil.which(name)
    return places[0] if places else Path(found) if found else None


def available() -> bool:
    """Whether the server's programs are installed."""
    return find_program("initdb") is not None and find_program("postgres") is not None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PostgresServer:
    """One server. `settings` are those of postgresql.conf; the defaults keep nothing safe (UNSAFE)."""

    def __init__(self, settings: dict[str, str] | None = None) -> None:
        self._settings = UNSAFE if settings is None else settings
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.host = "127.0.0.1"

    def __enter__(self) -> Self:
        self.directory = Path(tempfile.mkdtemp(prefix="cove-postgres-"))
        try:
            self._make()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop("immediate")
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    # --- its life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it (again) on the same port, and wait until it answers."""
        if not self.port:
            self.port = _free_port()
        settings = {
            "listen_addresses": self.host,
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
            "max_connections": "200",
            "shared_buffers": "64MB",
            "log_min_messages": "warning",
            **self._settings,
        }
        arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._as_user(
                    [str(self._program("postgres")), "-D", str(self.directory / "data"), *arguments],
                    "--pdeathsig=QUIT",  # it goes away with the tests, however they end
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
            )
        self._wait_until_ready()

    def stop(self, how: str = "fast") -> None:
        """Stop it: "fast" ends the sessions, "immediate" is a crash that leaves recovery to the next start."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal({"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "smart": signal.SIGTERM}[how])
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_TIMEOUT_S)

    def restart(self, how: str = "fast") -> None:
        """Stop and start."""
        self.stop(how)
        self.start()

    # --- its databases -----------------------------------------------------------------------------------------------

    def url(self, database: str, *, by_socket: bool = False) -> str:
        """The URL that Cove is given."""
        password = "".join(c if c.isalnum() else f"%{ord(c):02x}" for c in PASSWORD)
        if by_socket:
            return f"postgresql://cove:{password}@/{database}?host={self.directory}&port={self.port}"
        return f"postgresql://cove:{password}@{self.host}:{self.port}/{database}"

    def create_database(self, name: str, template: str = "template0") -> str:
        """Make a database of the user cove's, a copy of `template`; returns its URL."""
        self.sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}" OWNER cove')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, and whoever uses it."""
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as the administrator; returns the rows of a query."""
        import psycopg

        with psycopg.connect(
            host=str(self.directory), port=self.port, user="admin", dbname=database, autocommit=True, connect_timeout=10
        ) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    # --- own ---------------------------------------------------------------------------------------------------------

    def _make(self) -> None:
        if os.geteuid() == 0:
            self._user = next(name for name in ("postgres", "nobody") if _exists(name))
            shutil.chown(self.directory, self._user)
        else:
            self._user = ""
        # The local socket trusts: its directory is its user's and ours only.
        self.directory.chmod(0o700)
        data = self.directory / "data"
        words = ["-U", "admin", "--auth=trust", "--no-sync", "--encoding=UTF8", "--no-locale"]
        self._run([str(self._program("initdb")), "-D", str(data), *words])
        (data / "pg_hba.conf").write_text(
            "local all admin trust\nlocal all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n"
        )
        bootstrap = f"CREATE ROLE cove LOGIN PASSWORD '{PASSWORD}';\n"
        self._run(
            [str(self._program("postgres")), "--single", "-D", str(data), "-c", "fsync=off", "postgres"],
            text=bootstrap,
        )

    def _program(self, name: str) -> Path:
        found = find_program(name)
        if found is None:
            raise FileNotFoundError(f"{name}: install the package postgresql")
        return found

    def _as_user(self, command: Sequence[str], *options: str) -> list[str]:
        user = [f"--reuid={self._user}", f"--regid={_group(self._user)}", "--clear-groups"] if self._user else []
        return ["setpriv", *options, *user, *command] if options or user else list(command)

    def _run(self, command: Sequence[str], text: str = "") -> None:
        done = subprocess.run(
            self._as_user(command), input=text, capture_output=True, text=True, timeout=120, cwd="/", check=False
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stdout}{done.stderr}")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            assert self._process is not None
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended: {(self.directory / 'log').read_text()[-2000:]}")
            with contextlib.suppress(Exception):
                self.sql("SELECT 1")
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server is not ready: {(self.directory / 'log').read_text()[-2000:]}")
            time.sleep(0.05)


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _group(user: str) -> int:
    return pwd.getpwnam(user).pw_gid
