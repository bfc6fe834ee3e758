"""Who gets which token: methods, scopes, what disabled and missing things do, times."""

from __future__ import annotations

from typing import Any

import pytest
from argon2 import PasswordHasher

from cove.identity import times
from tests.unit.identity.lab import LOCAL_TOKEN, Lab, by_credential, by_password, by_token

DEFAULT = {"id": "default"}


async def token_of(api: Lab, *args: Any, **kwargs: Any) -> dict[str, Any]:
    response = await api.login(*args, **kwargs)
    assert response.status_code == 201, response.text
    assert len(response.headers["x-subject-token"]) == 43
    assert response.headers["vary"] == "X-Auth-Token"
    token: dict[str, Any] = response.json()["token"]
    return token


def names(things: list[dict[str, Any]]) -> list[str]:
    return [thing["name"] for thing in things]


async def test_a_token_for_a_project(api: Lab) -> None:
    scope = {"project": {"name": "demo", "domain": {"name": "Default"}}}
    token = await token_of(api, by_password("demo", api.passwords["demo"]), scope)
    assert token["methods"] == ["password"]
    assert token["user"]["name"] == "demo"
    assert token["user"]["domain"] == {"id": "default", "name": "Default"}
    assert token["user"]["password_expires_at"] is None
    assert token["project"]["name"] == "demo"
    assert token["project"]["domain"] == {"id": "default", "name": "Default"}
    assert token["is_domain"] is False
    assert names(token["roles"]) == ["member", "reader"]
    assert len(token["audit_ids"]) == 1
    assert token["issued_at"] == times.shown(api.clock.now)
    assert token["expires_at"] == times.shown(api.clock.now + 3600)
    assert {service["type"] for service in token["catalog"]} == {"identity", "network"}
    assert not {"domain", "system", "application_credential"} & set(token)


async def test_a_token_for_the_system(api: Lab) -> None:
    token = await token_of(api, by_password("admin", api.passwords["admin"]), {"system": {"all": True}})
    assert token["system"] == {"all": True}
    assert names(token["roles"]) == ["admin", "manager", "member", "reader"]
    assert "catalog" in token
    assert not {"project", "domain", "is_domain"} & set(token)


async def test_a_token_for_a_domain(api: Lab) -> None:
    user = await api.user("u")
    await api.grant(user, "reader", "domains/default")
    token = await token_of(api, by_password("u", "pw"), {"domain": {"name": "Default"}})
    assert token["domain"] == {"id": "default", "name": "Default"}
    assert names(token["roles"]) == ["reader"]
    assert not {"project", "system"} & set(token)


@pytest.mark.parametrize("scope", [None, "unscoped", {"unscoped": {}}])
async def test_an_unscoped_token(api: Lab, scope: Any) -> None:
    token = await token_of(api, by_password("admin", api.passwords["admin"]), scope)
    assert not {"project", "domain", "system", "roles", "catalog", "is_domain"} & set(token)


async def test_without_catalogue(api: Lab) -> None:
    scope = {"project": {"name": "admin", "domain": DEFAULT}}
    identity = by_password("admin", api.passwords["admin"])
    for query, there in (("?nocatalog", False), ("?nocatalog=1", False), ("?nocatalog=false", True), ("", True)):
        assert ("catalog" in await token_of(api, identity, scope, query)) == there


@pytest.mark.parametrize("by", ["id", "name"])
async def test_the_user_by_id_and_by_name_and_domain(api: Lab, by: str) -> None:
    user = await api.user("u")
    who = {"id": user["id"]} if by == "id" else {"name": "u", "domain": {"name": "Default"}}
    identity = {"methods": ["password"], "password": {"user": {**who, "password": "pw"}}}
    assert (await token_of(api, identity))["user"]["id"] == user["id"]


async def test_the_default_project(api: Lab) -> None:
    project = await api.project()
    user = await api.user("u", default_project_id=project["id"])
    assert "project" not in await token_of(api, by_password("u", "pw")), "no role there"
    await api.grant(user, "member", f"projects/{project['id']}")
    assert (await token_of(api, by_password("u", "pw")))["project"]["id"] == project["id"]
    assert "project" not in await token_of(api, by_password("u", "pw"), "unscoped")
    await api.ok("PATCH", f"/v3/projects/{project['id']}", {"project": {"enabled": False}})
    assert "project" not in await token_of(api, by_password("u", "pw"))
    await api.ok("DELETE", f"/v3/projects/{project['id']}")
    assert "project" not in await token_of(api, by_password("u", "pw"))


REFUSED_SCOPES: list[Any] = [
    {"project": {"id": "nothing"}},
    {"project": {"name": "nothing", "domain": DEFAULT}},
    {"project": {"name": "admin", "domain": {"id": "nothing"}}},
    {"project": {"name": "admin", "domain": DEFAULT}},  # demo has no role there
    {"domain": DEFAULT},
    {"domain": {"name": "nothing"}},
    {"system": {"all": True}},
]


@pytest.mark.parametrize("scope", REFUSED_SCOPES)
async def test_scopes_without_a_role_are_refused_alike(api: Lab, scope: Any) -> None:
    response = await api.login(by_password("demo", api.passwords["demo"]), scope)
    assert response.status_code == 401
    assert response.json()["error"]["message"] == "The request you have made requires authentication."
    rows = await api.db.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM identity_tokens").scalar())
    assert rows == 0, "nothing is kept of a login that failed"


async def test_wrong_password_unknown_user_and_no_password_are_refused_alike(api: Lab) -> None:
    await api.user("without", password=None)
    await api.user("off", enabled=False)
    answers = [
        (await api.login(by_password(name, password, domain))).json()
        for name, password, domain in (
            ("admin", "wrong", "default"),
            ("nobody", "wrong", "default"),
            ("admin", api.passwords["admin"], "nothing"),
            ("without", "wrong", "default"),
            ("off", "pw", "default"),
        )
    ]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["error"]["code"] == 401


async def test_everybody_costs_a_hash(api: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from cove.identity import passwords

    costs = []
    verify = passwords.verify_now

    def counted(password: str, stored: str) -> bool:
        costs.append(stored.partition("m=")[0])
        return verify(password, stored)

    monkeypatch.setattr(passwords, "verify_now", counted)
    await api.user("without", password=None)
    for name in ("admin", "nobody", "without"):
        await api.login(by_password(name, "wrong"))
    assert costs == ["$argon2id$v=19$"] * 3


# --- other tokens as proof -------------------------------------------------------------------------------------------


async def test_rescoping(api: Lab) -> None:
    api.clock.now += 10
    first = await token_of(api, by_password("admin", api.passwords["admin"]))
    text = await api.token(unscoped={})
    api.clock.now += 600
    second = await token_of(api, by_token(text), {"project": {"name": "demo", "domain": DEFAULT}})
    assert second["project"]["name"] == "demo"
    assert second["methods"] == ["password", "token"]
    assert second["expires_at"] == first["expires_at"], "it does not outlive what it was made of"
    assert second["issued_at"] > first["issued_at"]
    assert len(second["audit_ids"]) == 2
    again = await api.login(by_token(text), {"system": {"all": True}})
    third = await token_of(api, by_token(again.headers["x-subject-token"]), {"system": {"all": True}})
    assert third["audit_ids"][1] == second["audit_ids"][1], "the chain begins with the login"
    assert third["methods"] == ["password", "token"]


@pytest.mark.parametrize("bad", ["nonsense", LOCAL_TOKEN, "x" * 300, "t\u00f6ken"])
async def test_a_bad_token_as_proof(api: Lab, bad: str) -> None:
    response = await api.login(by_token(bad))
    assert (response.status_code, response.json()["error"]["title"]) == (404, "Not Found")


async def test_password_and_token_have_to_be_the_same_users(api: Lab) -> None:
    both = by_password("demo", api.passwords["demo"]) | {"token": {"id": await api.token("admin")}}
    both["methods"] = ["password", "token"]
    assert (await api.login(both)).status_code == 401
    both["token"] = {"id": await api.token("demo")}
    assert (await token_of(api, both))["methods"] == ["password", "token"]


async def test_a_password_that_is_changed_while_it_is_checked(api: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    user = await api.user("u")
    authentication = api.service.authentication
    prove = authentication._prove

    async def changed_meanwhile(*args: Any, **kwargs: Any) -> None:
        await prove(*args, **kwargs)
        await api.ok("PATCH", f"/v3/users/{user['id']}", {"user": {"password": "new"}})

    monkeypatch.setattr(authentication, "_prove", changed_meanwhile)
    assert (await api.login(by_password("u", "pw"))).status_code == 401


# --- application credentials -----------------------------------------------------------------------------------------


async def credential(api: Lab, user: dict[str, Any], token: str, **attributes: Any) -> dict[str, Any]:
    body = {"application_credential": {"name": "ci", **attributes}}
    answer = await api.ok("POST", f"/v3/users/{user['id']}/application_credentials", body, token)
    made: dict[str, Any] = answer["application_credential"]
    return made


@pytest.mark.parametrize("secret", [None, "chosen"])
async def test_by_application_credential(api: Lab, secret: str | None) -> None:
    user, project, token = await api.member()
    made = await credential(api, user, token, **({"secret": secret} if secret else {}))
    assert made["secret"] == (secret or made["secret"])
    for who in (
        {"id": made["id"]},
        {"name": "ci", "user": {"id": user["id"]}},
        {"name": "ci", "user": {"name": "u", "domain": {"name": "Default"}}},
    ):
        got = await token_of(api, by_credential(secret=made["secret"], **who))
        assert got["methods"] == ["application_credential"]
        assert got["project"]["id"] == project["id"]
        assert got["application_credential"] == {"id": made["id"], "name": "ci", "restricted": True}
        assert names(got["roles"]) == ["member", "reader"]
        wrong = await api.login(by_credential(secret="wrong", **who))
        assert wrong.status_code == 401


async def test_whatever_is_wrong_with_a_credential_costs_a_hash(api: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """None, one with a secret of its user's, one with a secret that was drawn: they take equally long to be refused."""
    user, _, token = await api.member()
    path = f"/v3/users/{user['id']}/application_credentials"
    made: dict[str, str] = {}
    for name, secret in (("own", {"secret": "chosen"}), ("drawn", {})):
        answer = await api.ok("POST", path, {"application_credential": {"name": name, **secret}}, token)
        made[name] = answer["application_credential"]["secret"]
    hashed: list[str] = []

    def verify(_self: PasswordHasher, stored: str, given: bytes) -> bool:
        hashed.append(stored)
        return given == b"chosen" and len(hashed) > 3

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    for name in ("own", "drawn", "none"):
        before = len(hashed)
        response = await api.login(by_credential(name=name, user={"id": user["id"]}, secret="wrong"))
        assert (response.status_code, len(hashed) - before) == (401, 1)
    for name, cost in (("drawn", 0), ("own", 1)):
        before = len(hashed)
        response = await api.login(by_credential(name=name, user={"id": user["id"]}, secret=made[name]))
        assert (response.status_code, len(hashed) - before) == (201, cost)


async def test_an_application_credential_that_there_is_not(api: Lab) -> None:
    for who in ({"id": "nothing"}, {"name": "ci", "user": {"name": "admin", "domain": DEFAULT}}):
        response = await api.login(by_credential(secret="x", **who))
        assert response.status_code == 401


async def test_an_application_credential_has_its_scope(api: Lab) -> None:
    user, project, token = await api.member()
    made = await credential(api, user, token)
    for scope in ({"project": {"id": project["id"]}}, "unscoped"):
        response = await api.login(by_credential(id=made["id"], secret=made["secret"]), scope)
        assert response.status_code == 401
        assert "scope" in response.json()["error"]["message"]


async def test_its_token_makes_no_other(api: Lab) -> None:
    user, _, token = await api.member()
    made = await credential(api, user, token)
    login = await api.login(by_credential(id=made["id"], secret=made["secret"]))
    response = await api.login(by_token(login.headers["x-subject-token"]))
    assert response.status_code == 403


async def test_it_has_its_roles_only_and_ends(api: Lab) -> None:
    user, _, token = await api.member()
    ends = times.shown_plain(api.clock.now + 100)
    made = await credential(api, user, token, roles=[{"name": "reader"}], expires_at=ends)
    proof = by_credential(id=made["id"], secret=made["secret"])
    got = await token_of(api, proof)
    assert names(got["roles"]) == ["reader"]
    assert got["expires_at"] == f"{ends}Z", "no token outlives it"
    api.clock.now += 100
    assert (await api.login(proof)).status_code == 401
