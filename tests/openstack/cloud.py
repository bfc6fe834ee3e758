"""A Cove of its own for tests with real clients: the API process, users with all roles, their clouds.yaml."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from .conformance.calls import PROJECTS, ROLES
from .conformance.peers import HttpPeer

REPOSITORY = Path(__file__).parents[2]
PEERS = REPOSITORY / ".venv-openstack"
"""The virtual environment of OpenStack's clients."""
START_TIMEOUT_S = 60.0
HOST = "host-a"
SERVED_ROLE = {"admin": "admin", "alice": "member", "rita": "reader", "mara": "manager", "bob": "member"}
"""The role that each user is given; what it implies comes with it."""
COLLECTIONS = ("rbac-policies", "ports", "networks", "subnetpools", "address-scopes", "security-groups")
"""What `clear` removes, in this order. The default security groups stay."""


class Cloud:
    """One API process. `settings` are Cove's, without the prefix COVE_."""

    def __init__(self, directory: Path, database_url: str = "", **settings: str) -> None:
        self.directory = directory
        self.environment = os.environ | {
            "COVE_STATE_DIR": str(directory / "state"),
            "COVE_RUN_DIR": str(directory / "run"),
            "COVE_CONFIG_FILE": str(directory / "cove.toml"),
            "COVE_API_PORT": "0",
            "COVE_HOST": HOST,
            **{f"COVE_{name.upper()}": value for name, value in settings.items()},
        }
        if database_url:
            self.environment["COVE_DATABASE_URL"] = database_url
        self.passwords: dict[str, str] = {}
        self.projects: dict[str, str] = {}
        self.url = ""

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.start()
        try:
            self._make_users()
            self._write_clouds()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- the process ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the process (again); returns when the API answers."""
        read, write = os.pipe()
        with (self.directory / "server.log").open("ab") as log, contextlib.closing(os.fdopen(read, "rb", 0)) as ready:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.openstack.api_server", str(write)],
                env=self.environment,
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[write],
            )
            os.close(write)
            select.select([ready], [], [], START_TIMEOUT_S)
            self.url = (ready.readline() if select.select([ready], [], [], 0)[0] else b"").decode().strip()
        if not self.url:
            self.stop()
            raise RuntimeError(f"the API did not start:\n{self.log_tail()}")

    def stop(self) -> None:
        """End the process."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)

    def log_tail(self, lines: int = 40) -> str:
        """The end of the server's log."""
        path = self.directory / "server.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def errors(self) -> list[str]:
        """Lines of the log that tell of a crash."""
        path = self.directory / "server.log"
        lines = path.read_text(errors="replace").splitlines()
        return [line for line in lines if "Traceback" in line or '"level": "error"' in line]

    # --- its users -----------------------------------------------------------------------------------------------

    @property
    def auth_url(self) -> str:
        """Of Identity v3."""
        return f"{self.url}/v3"

    def token(self, user: str, project: str | None = None) -> str:
        """A token of the user in its project."""
        login = self._login(user, project or PROJECTS[user])
        response = httpx.post(f"{self.auth_url}/auth/tokens", json=login, trust_env=False, timeout=30)
        response.raise_for_status()
        return response.headers["x-subject-token"]

    @functools.cached_property
    def admin_token(self) -> str:
        """A token of the administrator's for whatever is done beside a test."""
        return self.token("admin")

    def peer(self) -> HttpPeer:
        """For the conformance tables."""
        credentials: Mapping[str, Mapping[str, str]] = {user: {"X-Auth-Token": self.token(user)} for user in ROLES}
        return HttpPeer(self.url, credentials, self.projects)

    def clear(self) -> None:
        """Remove whatever there is in the Networking API, so that the next test finds it as at the start."""
        with httpx.Client(
            base_url=f"{self.url}/v2.0", headers={"X-Auth-Token": self.admin_token}, trust_env=False, timeout=60
        ) as http:
            for collection in COLLECTIONS:
                found = http.get(f"/{collection}?fields=id").raise_for_status().json()
                for item in found[collection.replace("-", "_")]:
                    http.delete(f"/{collection}/{item['id']}")
            for project in self.projects.values():
                http.delete(f"/quotas/{project}")

    @property
    def clouds_file(self) -> Path:
        """clouds.yaml with a cloud for each user, named like it."""
        return self.directory / "clouds.yaml"

    def client_environment(self, user: str) -> dict[str, str]:
        """Environment of a client program."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return kept | {"OS_CLIENT_CONFIG_FILE": str(self.clouds_file), "OS_CLOUD": user, "PYTHONUNBUFFERED": "1"}

    def _login(self, user: str, project: str) -> dict[str, Any]:
        return {
            "auth": {
                "identity": {
                    "methods": ["password"],
                    "password": {
                        "user": {"name": user, "domain": {"name": "Default"}, "password": self.passwords[user]}
                    },
                },
                "scope": {"project": {"name": project, "domain": {"name": "Default"}}},
            }
        }

    def _make_users(self) -> None:
        self.passwords["admin"] = (self.directory / "state/admin-password").read_text().strip()
        with httpx.Client(
            base_url=self.auth_url, headers={"X-Auth-Token": self.admin_token}, trust_env=False, timeout=30
        ) as http:

            def ask(method: str, path: str, body: Any = None) -> Any:
                response = http.request(method, path, json=body)
                response.raise_for_status()
                return response.json() if response.content else None

            roles = {role["name"]: role["id"] for role in ask("GET", "/roles")["roles"]}
            self.projects = {item["name"]: item["id"] for item in ask("GET", "/projects")["projects"]}
            for name in sorted(set(PROJECTS.values()) - set(self.projects)):
                self.projects[name] = ask("POST", "/projects", {"project": {"name": name}})["project"]["id"]
            for user, role in SERVED_ROLE.items():
                if user == "admin":
                    continue
                self.passwords[user] = f"password-of-{user}"
                values = {"name": user, "password": self.passwords[user]}
                user_id = ask("POST", "/users", {"user": values})["user"]["id"]
                ask("PUT", f"/projects/{self.projects[PROJECTS[user]]}/users/{user_id}/roles/{roles[role]}")

    def _write_clouds(self) -> None:
        clouds = {
            user: {
                "auth": {
                    "auth_url": self.auth_url,
                    "username": user,
                    "password": password,
                    "project_name": PROJECTS[user],
                    "user_domain_name": "Default",
                    "project_domain_name": "Default",
                },
                "region_name": "RegionOne",
                "identity_api_version": 3,
            }
            for user, password in self.passwords.items()
        }
        self.clouds_file.write_text(json.dumps({"clouds": clouds}))  # JSON is YAML
        self.clouds_file.chmod(0o600)
