"""Application credentials: what they may be, who makes them. Logging in with them: test_logging_in."""

from __future__ import annotations

from typing import Any

import pytest

from cove.identity import times
from tests.unit.identity.lab import DEMO_PROJECT_ID, LOCAL_TOKEN, START, Lab, by_credential


async def make(api: Lab, user: dict[str, Any], token: str, code: int = 201, **attributes: Any) -> dict[str, Any]:
    body = {"application_credential": {"name": "ci", **attributes}}
    response = await api.call("POST", f"/v3/users/{user['id']}/application_credentials", body, token)
    assert response.status_code == code, response.text
    answer: dict[str, Any] = response.json()
    return answer["application_credential"] if code == 201 else answer["error"]  # type: ignore[no-any-return]


async def test_a_life(api: Lab) -> None:
    user, project, token = await api.member()
    made = await make(api, user, token, description="robot", expires_at="2030-01-02T03:04:05")
    secret = made.pop("secret")
    assert len(secret) == 43
    assert made["project_id"] == project["id"]
    assert made["expires_at"] == "2030-01-02T03:04:05.000000"
    assert [role["name"] for role in sorted(made["roles"], key=lambda role: role["name"])] == ["member", "reader"]
    assert (made["unrestricted"], made["system"], made["access_rules"]) == (False, None, [])
    base = f"/v3/users/{user['id']}/application_credentials"
    assert await api.ok("GET", f"{base}/{made['id']}", token=token) == {"application_credential": made}
    for query, count in (("", 1), ("?name=ci", 1), ("?name=x", 0)):
        assert len((await api.ok("GET", base + query, token=token))["application_credentials"]) == count
    assert (await make(api, user, token, 409))["title"] == "Conflict"
    await api.ok("DELETE", f"{base}/{made['id']}", token=token)
    for method in ("GET", "DELETE"):
        assert (await api.call(method, f"{base}/{made['id']}", token=token)).status_code == 404


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name"),
    ({"secret": ""}, "(not shown)"),
    ({"secret": ["sesame"]}, "(not shown)"),
    ({"expires_at": "soon"}, "expires_at"),
    ({"expires_at": 5}, "expires_at"),
    ({"expires_at": "9999-99-99T00:00:00"}, "expires_at"),
    ({"expires_at": times.shown_plain(START)}, "before now"),
    ({"unrestricted": "yes"}, "true or false"),
    ({"roles": "reader"}, "roles"),
    ({"roles": [{}]}, "roles"),
    ({"roles": [{"name": "nothing"}]}, "only roles that you have"),
    ({"roles": [{"id": "nothing"}]}, "only roles that you have"),
    ({"roles": [{"name": "admin"}]}, "only roles that you have"),
    ({"roles": [{"name": "member"}, {"name": "admin"}]}, "only roles that you have"),
    ({"access_rules": [{"path": "/v2.0/ports", "method": "GET", "service": "network"}]}, "not supported"),
    ({"system": "all"}, "not supported"),
    ({"project_id": DEMO_PROJECT_ID}, "for the project of the token"),
]


@pytest.mark.parametrize(("attributes", "says"), REFUSED)
async def test_refusals(api: Lab, attributes: dict[str, Any], says: str) -> None:
    user, _, token = await api.member()
    error = await make(api, user, token, 400, **attributes)
    assert says in error["message"]
    assert "sesame" not in error["message"]


async def test_only_the_user_itself_makes_them(api: Lab) -> None:
    user, _, _ = await api.member()
    for token in (await api.token("admin"), LOCAL_TOKEN):
        await make(api, user, token, 403)


async def test_an_unscoped_token_makes_none(api: Lab) -> None:
    user, _, _ = await api.member()
    await make(api, user, await api.token("u", "pw", unscoped={}), 400)


async def test_a_restricted_one_manages_none(api: Lab) -> None:
    user, _, token = await api.member()
    made = await make(api, user, token)
    login = await api.login(by_credential(id=made["id"], secret=made["secret"]))
    robot = login.headers["x-subject-token"]
    await make(api, user, robot, 403, name="second")
    path = f"/v3/users/{user['id']}/application_credentials"
    assert (await api.call("DELETE", f"{path}/{made['id']}", token=robot)).status_code == 403
    assert (await api.call("GET", path, token=robot)).status_code == 200


async def test_an_unrestricted_one_makes_others_with_no_more_than_it_has(api: Lab) -> None:
    user, _, token = await api.member()
    made = await make(api, user, token, unrestricted=True, roles=[{"name": "reader"}])
    login = await api.login(by_credential(id=made["id"], secret=made["secret"]))
    robot = login.headers["x-subject-token"]
    second = await make(api, user, robot, name="second")
    assert [role["name"] for role in second["roles"]] == ["reader"]
    await make(api, user, robot, 400, name="third", roles=[{"name": "member"}])


async def test_secrets_are_stored_as_hashes(api: Lab) -> None:
    user, _, token = await api.member()
    drawn = await make(api, user, token)
    await make(api, user, token, name="chosen", secret="open-sesame")
    stored = await api.db.read(
        lambda c: c.exec_driver_sql("SELECT secret_hash FROM identity_application_credentials").scalars().all()
    )
    assert sorted(one.split("$")[1] for one in stored) == ["argon2id", "sha256"]
    assert not any(drawn["secret"] in one or "open-sesame" in one for one in stored)
