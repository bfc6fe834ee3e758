"""What ends a token, in the process that does it and in others; and what does not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cove.identity import models
from tests.unit.identity.lab import LOCAL_TOKEN, Lab, by_credential, by_password, lab

Change = Callable[[Lab, dict[str, Any], dict[str, Any], str], Awaitable[Any]]


async def _revoke(api: Lab, user: dict[str, Any], project: dict[str, Any], token: str) -> None:
    await api.ok("DELETE", "/v3/auth/tokens", x_subject_token=token)


async def _revoke_by_itself(api: Lab, user: dict[str, Any], project: dict[str, Any], token: str) -> None:
    await api.ok("DELETE", "/v3/auth/tokens", token=token, x_subject_token=token)


async def _new_password(api: Lab, user: dict[str, Any], project: dict[str, Any], token: str) -> None:
    await api.ok("PATCH", f"/v3/users/{user['id']}", {"user": {"password": "new"}})


async def _own_password(api: Lab, user: dict[str, Any], project: dict[str, Any], token: str) -> None:
    change = {"user": {"original_password": "pw", "password": "new"}}
    await api.ok("POST", f"/v3/users/{user['id']}/password", change, token)


async def _disable_user(api: Lab, user: dict[str, Any], project: dict[str, Any], token: str) -> None:
    await api.ok("PATCH", f"/v3/users/{user['id']}", {"user": {"enabled": False}})


async def _disable_user_for_a_moment(api: Lab, user: dict[str, Any], project: dict[str, Any], token: str) -> None:
    await _disable_user(api, user, project, token)
    await api.ok("PATCH", f"/v3/users/{user['id']}", {"user": {"enabled": True}})


async def _delete_user(api: Lab, user: dict[str, Any], project: dict[str, Any], token: str) -> None:
    await api.ok("DELETE", f"/v3/users/{user['id']}")


async def _disable_project(api: Lab, user: dict[str, Any], project: dict[str, Any], token: str) -> None:
    await api.ok("PATCH", f"/v3/projects/{project['id']}", {"project": {"enabled": False}})


async def _delete_project(api: Lab, user: dict[str, Any], project: dict[str, Any], token: str) -> None:
    await api.ok("DELETE", f"/v3/projects/{project['id']}")


async def _remove_role(api: Lab, user: dict[str, Any], project: dict[str, Any], token: str) -> None:
    await api.revoke(user, "member", f"projects/{project['id']}")


async def _remove_role_and_give_it_back(api: Lab, user: dict[str, Any], project: dict[str, Any], token: str) -> None:
    await _remove_role(api, user, project, token)
    await api.grant(user, "member", f"projects/{project['id']}")


async def _disable_domain(api: Lab, user: dict[str, Any], project: dict[str, Any], token: str) -> None:
    # The default one can't be: the user's project is moved into one that can, below the API.
    made = await api.ok("POST", "/v3/domains", {"domain": {"name": "d"}})
    moved = models.projects.update().where(models.projects.c.id == project["id"]).values(domain_id=made["domain"]["id"])
    await api.db.write(lambda connection: connection.execute(moved).rowcount)
    await api.ok("PATCH", f"/v3/domains/{made['domain']['id']}", {"domain": {"enabled": False}})


ENDS: list[Change] = [
    _revoke,
    _revoke_by_itself,
    _new_password,
    _own_password,
    _disable_user,
    _disable_user_for_a_moment,
    _delete_user,
    _disable_project,
    _delete_project,
    _remove_role,
    _remove_role_and_give_it_back,
    _disable_domain,
]


@pytest.mark.parametrize("change", ENDS, ids=lambda change: change.__name__)
async def test_at_once_here_and_within_a_second_elsewhere(api: Lab, change: Change) -> None:
    async with lab(api.settings.state_dir, api.clock) as other:
        user, project, token = await api.member()
        bystander = await api.token("demo")
        for server in (api, other):
            assert await server.valid(token)
            assert await server.valid(bystander)
        await change(api, user, project, token)
        assert not await api.valid(token), "at once"
        api.clock.now += 1.0
        assert not await other.valid(token), "within a second"
        assert await api.valid(bystander)
        assert await other.valid(bystander)


async def _rename(api: Lab, user: dict[str, Any], project: dict[str, Any], token: str) -> None:
    await api.ok("PATCH", f"/v3/users/{user['id']}", {"user": {"name": "v", "description": "d"}})


async def _another_role(api: Lab, user: dict[str, Any], project: dict[str, Any], token: str) -> None:
    await api.grant(user, "service", f"projects/{project['id']}")


async def _role_elsewhere(api: Lab, user: dict[str, Any], project: dict[str, Any], token: str) -> None:
    await api.grant(user, "member", "system")
    await api.revoke(user, "member", "system")


async def _others_token(api: Lab, user: dict[str, Any], project: dict[str, Any], token: str) -> None:
    other = await api.token("u", "pw", project={"id": project["id"]})
    await api.ok("DELETE", "/v3/auth/tokens", x_subject_token=other)


@pytest.mark.parametrize("change", [_rename, _another_role, _role_elsewhere, _others_token])
async def test_what_does_not_end_it(api: Lab, change: Change) -> None:
    user, project, token = await api.member()
    assert await api.valid(token)
    await change(api, user, project, token)
    assert await api.valid(token)


async def test_a_new_role_is_in_force_at_once(api: Lab) -> None:
    user, project, token = await api.member()
    assert (await api.call("GET", "/v3/users", token=token)).status_code == 403
    await api.grant(user, "admin", f"projects/{project['id']}")
    assert (await api.call("GET", "/v3/users", token=token)).status_code == 200


async def test_what_a_role_implies_is_looked_up_anew(api: Lab) -> None:
    _, _, token = await api.member()
    member, reader = await api.role_id("member"), await api.role_id("reader")

    async def roles() -> list[str]:
        shown = await api.ok("GET", "/v3/auth/tokens", x_subject_token=token)
        return [role["name"] for role in shown["token"]["roles"]]

    assert await roles() == ["member", "reader"]
    await api.ok("DELETE", f"/v3/roles/{member}/implies/{reader}")
    assert await roles() == ["member"]


@pytest.mark.parametrize("path", ["credential", "user", "project", "role"])
async def test_tokens_of_an_application_credential(api: Lab, path: str) -> None:
    user, project, token = await api.member()
    body = {"application_credential": {"name": "ci"}}
    base = f"/v3/users/{user['id']}/application_credentials"
    made = (await api.ok("POST", base, body, token))["application_credential"]
    proof = by_credential(id=made["id"], secret=made["secret"])
    text = (await api.login(proof)).headers["x-subject-token"]
    assert await api.valid(text)
    if path == "credential":
        await api.ok("DELETE", f"{base}/{made['id']}", token=token)
    elif path == "user":
        await api.ok("DELETE", f"/v3/users/{user['id']}")
    elif path == "project":
        await api.ok("DELETE", f"/v3/projects/{project['id']}")
    else:
        await api.revoke(user, "member", f"projects/{project['id']}")
    assert not await api.valid(text)
    assert (await api.login(proof)).status_code == 401


async def test_a_credential_without_the_role_that_went_stays(api: Lab) -> None:
    user, project, token = await api.member()
    await api.grant(user, "service", f"projects/{project['id']}")
    base = f"/v3/users/{user['id']}/application_credentials"
    for name in ("service", "reader"):
        body = {"application_credential": {"name": name, "roles": [{"name": name}]}}
        await api.ok("POST", base, body, token)
    await api.revoke(user, "service", f"projects/{project['id']}")
    left = (await api.ok("GET", base))["application_credentials"]
    assert [one["name"] for one in left] == ["reader"]


async def test_expiry(api: Lab) -> None:
    token = await api.token("demo")
    api.clock.now += 3599
    assert await api.valid(token)
    api.clock.now += 1
    assert not await api.valid(token)
    response = await api.call("GET", "/v3/auth/tokens", token=LOCAL_TOKEN, x_subject_token=token)
    assert response.status_code == 404


async def test_pruning(api: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cove.identity.service.PRUNE_BATCH", 3)
    for _ in range(7):
        await api.token("demo")
    api.clock.now += 1800
    young = await api.token("demo")
    assert await api.service.prune() == 0
    api.clock.now += 1800
    assert await api.service.prune() == 7
    assert await api.valid(young)


async def test_a_token_outlives_the_process(tmp_path: Path) -> None:
    async with lab(tmp_path) as api:
        token = await api.token("demo")
    async with lab(tmp_path) as api:
        assert await api.valid(token)


async def test_a_request_costs_no_query(api: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    token = await api.token("demo")
    await api.service.validate(token)
    reads = []
    read = api.db.read

    async def counted(fn: Callable[..., Any]) -> Any:
        reads.append(fn)
        return await read(fn)

    monkeypatch.setattr(api.db, "read", counted)
    for _ in range(100):
        assert await api.service.validate(token) is not None
    assert reads == []
    api.clock.now += 1.0
    for _ in range(100):
        await api.service.validate(token)
    assert len(reads) == 1, "one look at the revision a second"


async def test_logging_in_and_out_again_does_not_disturb_others(api: Lab) -> None:
    """Creating tokens, users and projects changes what no token may do: nobody's are looked up anew."""
    before = len(api.service.cache)
    token = await api.token("demo")
    await api.service.validate(token)
    await api.user("v")
    await api.project("q")
    await api.login(by_password("v", "pw"))
    assert len(api.service.cache) == before + 1
