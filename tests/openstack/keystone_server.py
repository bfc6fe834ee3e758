"""A real Keystone for tests: SQLite, Fernet tokens, one process, bootstrapped with an admin; nothing needs root.

Run as a program by the peers' Python it is the server itself: `keystone_server.py DIRECTORY PORT`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

PASSWORD = "keystone-secret"
START_TIMEOUT_S = 60.0
CONFIGURATION = """
[DEFAULT]
log_file = {directory}/keystone.log
[database]
connection = sqlite:///{directory}/keystone.sqlite
[token]
provider = fernet
[fernet_tokens]
key_repository = {directory}/fernet
[fernet_receipts]
key_repository = {directory}/fernet
[credential]
key_repository = {directory}/credential
[identity]
password_hash_rounds = 4
"""


class KeystoneServer:
    """One Keystone; `peers` is the environment in which it is installed."""

    def __init__(self, peers: Path, directory: Path) -> None:
        self._peers = peers
        self.directory = directory
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "keystone.conf").write_text(CONFIGURATION.format(directory=self.directory))
        user = ["--keystone-user", str(os.geteuid()), "--keystone-group", str(os.getegid())]
        self._manage("db_sync")
        self._manage("fernet_setup", *user)
        self._manage("credential_setup", *user)
        urls = [
            word for kind in ("admin", "public", "internal") for word in (f"--bootstrap-{kind}-url", f"{self.url}/v3")
        ]
        self._manage("bootstrap", "--bootstrap-password", PASSWORD, "--bootstrap-region-id", "RegionOne", *urls)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process (again); returns when it answers."""
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._peers / "bin/python"), "-W", "ignore", __file__, str(self.directory), str(self._port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    log_text = (self.directory / "server.log").read_text(errors="replace")
                    raise RuntimeError(f"Keystone did not start:\n{log_text[-3000:]}") from None
            time.sleep(0.05)  # until it listens, or the deadline

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait(20)

    def _manage(self, *words: str) -> None:
        program, configuration = self._peers / "bin/keystone-manage", self.directory / "keystone.conf"
        command = [str(program), "--config-file", str(configuration), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise RuntimeError(f"keystone-manage {words[0]}:\n{done.stdout}\n{done.stderr}")


def _serve(directory: str, port: int) -> None:
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

    os.environ["OS_KEYSTONE_CONFIG_FILES"] = f"{directory}/keystone.conf"
    sys.argv = ["keystone"]
    from keystone.server.wsgi import initialize_public_application  # type: ignore[import-not-found, unused-ignore]

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    make_server("127.0.0.1", port, initialize_public_application(), Server, Quiet).serve_forever()


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
