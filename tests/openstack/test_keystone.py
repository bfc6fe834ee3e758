"""Beside a real Keystone: Cove with Keystone's users, and Cove's own Identity service answering as Keystone does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from cove.api.auth import IdentityUnavailable, Unauthorized
from cove.api.keystone import KeystoneAuthenticator
from cove.config import Settings

from .cloud import Cloud
from .identity_calls import CALLS, CLEAN, LOGINS, Call
from .keystone_server import PASSWORD, KeystoneServer

TIMEOUT_S = 60


@pytest.fixture(scope="module")
def keystone(peers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeystoneServer]:
    if not (peers / "bin/keystone-manage").exists():
        pytest.skip("Keystone is not among the peers: ./run-tests openstack makes .venv-openstack")
    with KeystoneServer(peers, tmp_path_factory.mktemp("keystone")) as running:
        yield running


def login(url: str, user: str, password: str, scope: Any) -> str:
    identity = {
        "methods": ["password"],
        "password": {"user": {"name": user, "domain": {"id": "default"}, "password": password}},
    }
    body = {"auth": {"identity": identity, "scope": scope}}
    response = httpx.post(f"{url}/v3/auth/tokens", json=body, trust_env=False, timeout=TIMEOUT_S)
    assert response.status_code == 201, response.text
    return response.headers["x-subject-token"]


@dataclass
class Admin:
    """Keystone's admin, with the few calls that the tests need."""

    url: str
    token: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.token = login(self.url, "admin", PASSWORD, {"project": {"name": "admin", "domain": {"id": "default"}}})
        self.headers = {"X-Auth-Token": self.token}

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        response = httpx.request(
            method,
            f"{self.url}/v3{path}",
            json=body,
            headers=self.headers | headers,
            trust_env=False,
            timeout=TIMEOUT_S,
        )
        assert response.is_success, response.text
        return response.json() if response.content else None

    def make(self, kind: str, **attributes: Any) -> str:
        return str(self.ask("POST", f"/{kind}s", {kind: attributes})[kind]["id"])

    def role(self, name: str) -> str:
        return str(self.ask("GET", f"/roles?name={name}")["roles"][0]["id"])


@pytest.fixture(scope="module")
def admin(keystone: KeystoneServer) -> Admin:
    made = Admin(keystone.url)
    project = made.make("project", name="service")
    user = made.make("user", name="cove", password="swordfish")
    made.ask("PUT", f"/projects/{project}/users/{user}/roles/{made.role('service')}")
    return made


@pytest.fixture
def settings(keystone: KeystoneServer, admin: Admin, tmp_path: Path) -> Settings:
    password = tmp_path / "password"
    password.write_text("swordfish\n")
    password.chmod(0o600)
    return Settings(identity=keystone.url, identity_password_file=password)


async def test_keystones_tokens(keystone: KeystoneServer, admin: Admin, settings: Settings) -> None:
    project = admin.make("project", name="laboratory")
    user = admin.make("user", name="anna", password="pw")
    admin.ask("PUT", f"/projects/{project}/users/{user}/roles/{admin.role('member')}")
    token = login(keystone.url, "anna", "pw", {"project": {"id": project}})
    now = [0.0]
    import time

    authenticator = KeystoneAuthenticator(
        settings, now=lambda: time.time() + now[0], monotonic=lambda: time.monotonic() + now[0]
    )
    try:
        context = await authenticator.authenticate(token)
        assert (context.user_id, context.user_name) == (user, "anna")
        assert (context.project_id, context.project_name) == (project, "laboratory")
        assert context.roles == {"member", "reader"}
        system = await authenticator.authenticate(login(keystone.url, "admin", PASSWORD, {"system": {"all": True}}))
        assert (system.system_scope, system.project_id, "admin" in system.roles) == ("all", "", True)
        unscoped = await authenticator.authenticate(login(keystone.url, "anna", "pw", "unscoped"))
        assert (unscoped.project_id, unscoped.roles) == ("", frozenset())
        with pytest.raises(Unauthorized):
            await authenticator.authenticate("gAAAAABnonsense")
        admin.ask("DELETE", "/auth/tokens", **{"X-Subject-Token": token})
        now[0] += 31
        with pytest.raises(Unauthorized):
            await authenticator.authenticate(token)
    finally:
        await authenticator.close()


async def test_keystone_goes_away_and_comes_back(keystone: KeystoneServer, admin: Admin, settings: Settings) -> None:
    token = login(keystone.url, "admin", PASSWORD, {"system": {"all": True}})
    other = login(keystone.url, "admin", PASSWORD, "unscoped")
    authenticator = KeystoneAuthenticator(settings)
    try:
        await authenticator.authenticate(token)
        keystone.stop()
        try:
            assert (await authenticator.authenticate(token)).user_name == "admin", "what is known stays known"
            with pytest.raises(IdentityUnavailable):
                await authenticator.authenticate(other)
        finally:
            keystone.start()
        await authenticator.authenticate(other)
    finally:
        await authenticator.close()


def test_a_cove_with_keystones_users(
    keystone: KeystoneServer, admin: Admin, settings: Settings, tmp_path: Path
) -> None:
    """The whole API process: a member sees its own networks, an admin all; no Identity API of Cove's own."""
    project = admin.make("project", name="tenant")
    user = admin.make("user", name="ben", password="pw")
    admin.ask("PUT", f"/projects/{project}/users/{user}/roles/{admin.role('member')}")
    member = {"X-Auth-Token": login(keystone.url, "ben", "pw", {"project": {"id": project}})}
    cloud = Cloud(
        tmp_path / "cloud", identity=keystone.url, identity_password_file=str(settings.identity_password_file)
    )
    cloud.directory.mkdir()
    cloud.start()
    try:
        with httpx.Client(base_url=cloud.url, trust_env=False, timeout=TIMEOUT_S) as http:
            made = http.post("/v2.0/networks", json={"network": {"name": "n"}}, headers=member).json()["network"]
            assert made["project_id"] == project
            assert "provider:network_type" not in made
            shown = http.get(f"/v2.0/networks/{made['id']}", headers=admin.headers).json()["network"]
            assert "provider:network_type" in shown
            refused = http.get("/v2.0/networks", headers={"X-Auth-Token": "nonsense"})
            assert refused.status_code == 401
            assert keystone.url in refused.headers["www-authenticate"]
            assert http.get("/v3").status_code == 401
            assert http.get("/v3/users", headers=admin.headers).status_code == 404
            assert http.get("/").json()["versions"][0]["id"] == "v2.0"
    finally:
        cloud.stop()
    assert not list((cloud.directory / "state").glob("*password*"))
    log = (cloud.directory / "server.log").read_text()
    assert "swordfish" not in log
    assert member["X-Auth-Token"] not in log


# --- the embedded service answers as Keystone does -------------------------------------------------------------------

ID = re.compile(r"[0-9a-f]{32}")


@dataclass
class Answer:
    """What is compared: the code, and everything of the body that is not words, ids or times."""

    code: int
    shape: Any


def shape_of(value: Any, name: str = "") -> Any:
    """Names and kinds of all members; values of those that are the same everywhere."""
    if isinstance(value, dict):
        return {key: shape_of(inner, key) for key, inner in sorted(value.items()) if key not in ("links", "catalog")}
    if isinstance(value, list):
        shapes = [shape_of(inner, name) for inner in value]
        return sorted(shapes, key=str)
    if isinstance(value, str) and (
        ID.search(value) or name in ("message", "title", "expires_at", "issued_at", "audit_ids")
    ):
        return "text"
    return value


def play(url: str, admin_password: str, calls: tuple[Call, ...]) -> list[Answer]:
    """Make the calls one after the other; what came back."""
    kept: dict[str, str] = {}
    answers = []
    with httpx.Client(base_url=url, trust_env=False, timeout=TIMEOUT_S) as http:
        kept["admin"] = login(url, "admin", admin_password, {"project": {"name": "admin", "domain": {"id": "default"}}})
        kept["admin_password"] = admin_password
        for role in http.get("/v3/roles", headers={"X-Auth-Token": kept["admin"]}).json()["roles"]:
            kept[f"role_{role['name']}"] = role["id"]
        for call in calls:
            headers = {name: _filled(value, kept) for name, value in call.headers.items()}
            if call.token:
                headers["X-Auth-Token"] = kept[call.token]
            response = http.request(
                call.method, _filled(call.path, kept), json=_filled(call.body, kept), headers=headers
            )
            body = response.json() if "json" in response.headers.get("content-type", "") and response.content else None
            if call.keep and isinstance(body, dict) and response.is_success:
                (inner,) = (value for key, value in body.items() if key != "links")
                kept[call.keep] = response.headers.get("x-subject-token") or inner["id"]
                if isinstance(inner, dict) and "secret" in inner:
                    kept[f"{call.keep}_secret"] = inner["secret"]
            shape = shape_of(body) if response.is_success else None
            if not response.is_success and isinstance(body, dict) and "error" in body:
                assert body["error"]["code"] == response.status_code
            answers.append(Answer(response.status_code, shape))
    return answers


def _filled(value: Any, kept: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(inner, kept) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, kept) for inner in value]
    return re.sub(r"\{(\w+)\}", lambda match: kept[match[1]], value) if isinstance(value, str) else value


@pytest.fixture(scope="module")
def cove(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    cloud = Cloud(tmp_path_factory.mktemp("cove") / "cloud")
    cloud.directory.mkdir(parents=True, exist_ok=True)
    cloud.start()
    try:
        yield cloud
    finally:
        cloud.stop()


@pytest.mark.parametrize("topic", sorted({call.topic for call in CALLS}))
def test_the_same_answers(keystone: KeystoneServer, cove: Cloud, topic: str) -> None:
    calls = (*LOGINS, *(call for call in CALLS if call.topic == topic), *CLEAN)
    password = (cove.directory / "state/admin-password").read_text().strip()
    theirs, ours = play(keystone.url, PASSWORD, calls), play(cove.url, password, calls)
    differences = []
    for call, their, our in zip(calls, theirs, ours, strict=True):
        expected = call.ours if call.ours is not None else their.code
        if our.code != expected:
            differences.append(f"{call.method} {call.path} {call.body}: {our.code}, Keystone {their.code}")
        elif call.ours is None and call.compare and our.shape != their.shape:
            differences.append(f"{call.method} {call.path}:\n   ours {our.shape}\n theirs {their.shape}")
    assert not differences, "\n".join(differences)
