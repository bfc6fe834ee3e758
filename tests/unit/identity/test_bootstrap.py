"""The first start, kills in between, files that go, several servers.

| `<name>-password.new` | `<name>-password` | the user          | then                                                |
| --------------------- | ----------------- | ----------------- | --------------------------------------------------- |
| any                   | any               | none yet          | made with the password of a file, or with a new one |
| there, right          | any               | there             | renamed                                             |
| there, wrong          | any               | there             | hash replaced, renamed; on a shared database: gone  |
| –                     | there             | there             | nothing: the file may be out of date                |
| –                     | –                 | there             | a new one; on a shared database: nothing            |
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cove.db import Database
from cove.identity import bootstrap
from cove.identity.bootstrap import ADMIN_ID, Bootstrap, fixed_id, password_files
from cove.identity.passwords import Passwords
from cove.network.context import DEMO_PROJECT_ID
from tests.unit.identity.lab import LOCAL_TOKEN, Lab, by_password, lab


class Killed(BaseException):
    pass


def test_the_demo_project_is_that_of_the_network_service() -> None:
    assert fixed_id("project", "demo") == DEMO_PROJECT_ID == bootstrap.DEMO_PROJECT_ID


async def test_the_first_start(api: Lab) -> None:
    for name in ("admin", "demo"):
        path = api.settings.state_dir / f"{name}-password"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_text() == f"{api.passwords[name]}\n"
        assert not path.with_name(f"{name}-password.new").exists()
    assert api.passwords["admin"] != api.passwords["demo"]
    shown = await api.ok("GET", "/v3/role_assignments?include_names")
    assert {
        (one["user"]["name"], one["scope"].get("project", {}).get("name", "system"), one["role"]["name"])
        for one in shown["role_assignments"]
    } == {
        ("admin", "admin", "admin"),
        ("admin", "demo", "admin"),
        ("admin", "system", "admin"),
        ("demo", "demo", "member"),
    }
    for name in ("admin", "demo"):
        assert await api.token(name)


async def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    async with lab(tmp_path) as first:
        before = first.passwords
        await first.ok("PATCH", f"/v3/users/{ADMIN_ID}", {"user": {"name": "root", "password": "mine"}})
    async with lab(tmp_path) as second:
        assert second.passwords == before, "files are as they were, though out of date"
        assert await second.token("root", "mine", system={"all": True})


async def test_what_was_deleted_stays_deleted(tmp_path: Path) -> None:
    async with lab(tmp_path) as first:
        for path in (f"users/{bootstrap.DEMO_ID}", f"projects/{DEMO_PROJECT_ID}"):
            await first.ok("DELETE", f"/v3/{path}")
    async with lab(tmp_path) as second:
        assert [user["name"] for user in (await second.ok("GET", "/v3/users"))["users"]] == ["admin"]
        assert [project["name"] for project in (await second.ok("GET", "/v3/projects"))["projects"]] == ["admin"]


STEPS = ("_draw", "_insert_all", "_finish")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("step", STEPS)
async def test_killed_between_any_two_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, times: int, when: str
) -> None:
    real: Callable[..., Any] = getattr(bootstrap, step)
    calls = 0

    def killed(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if when == "before" and calls >= times:
            raise Killed
        result = real(*args, **kwargs)
        if when == "after" and calls >= times:
            raise Killed
        return result

    reached = step != "_insert_all" or times == 1
    with monkeypatch.context() as patch:
        patch.setattr(bootstrap, step, killed)
        try:
            async with lab(tmp_path) as api:
                assert await api.token("admin")
        except Killed:
            assert reached
        else:
            assert not reached
    async with lab(tmp_path) as api:
        for name in ("admin", "demo"):
            assert await api.token(name), "the file has the password that is in force"
        assert sorted(path.name for path in tmp_path.glob("*password*")) == ["admin-password", "demo-password"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["_draw", "_set_hash", "_finish"])
async def test_killed_while_a_lost_password_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    async with lab(tmp_path) as api:
        lost = api.passwords["admin"]
    (tmp_path / "admin-password").unlink()
    real: Callable[..., Any] = getattr(bootstrap, step)

    def killed(*args: Any) -> Any:
        if when == "after":
            real(*args)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(bootstrap, step, killed)
        with pytest.raises(Killed):
            async with lab(tmp_path):
                pass
    async with lab(tmp_path) as api:
        assert api.passwords["admin"] != lost
        assert await api.token("admin")
        assert (await api.login(by_password("admin", lost))).status_code == 401


async def test_a_deleted_file_means_a_new_password_and_ends_tokens(tmp_path: Path) -> None:
    async with lab(tmp_path) as api:
        before, token, other = api.passwords, await api.token("admin"), await api.token("demo")
    (tmp_path / "admin-password").unlink()
    async with lab(tmp_path) as api:
        assert api.passwords["admin"] != before["admin"]
        assert api.passwords["demo"] == before["demo"]
        assert not await api.valid(token)
        assert await api.valid(other)


@pytest.mark.parametrize("content", ["", "mine\n"])
async def test_a_file_of_the_admins_own_is_left_alone(tmp_path: Path, content: str) -> None:
    """Who keeps the password elsewhere empties the file."""
    async with lab(tmp_path) as api:
        password = api.passwords["admin"]
    (tmp_path / "admin-password").write_text(content)
    async with lab(tmp_path) as api:
        assert (tmp_path / "admin-password").read_text() == content
        assert await api.token("admin", password)


async def test_a_new_database_beside_a_file_that_others_may_read(tmp_path: Path) -> None:
    (tmp_path / "admin-password").write_text("kept\n")
    (tmp_path / "admin-password").chmod(0o644)
    async with lab(tmp_path) as api:
        assert await api.token("admin", "kept")
    assert stat.S_IMODE((tmp_path / "admin-password").stat().st_mode) == 0o600


async def test_a_new_database_beside_old_files(tmp_path: Path) -> None:
    async with lab(tmp_path) as api:
        before = api.passwords
    for path in tmp_path.glob("cove.sqlite*"):
        path.unlink()
    async with lab(tmp_path) as api:
        assert api.passwords == before
        assert await api.token("admin")


async def test_no_password_is_drawn_for_an_admin_without_one(tmp_path: Path) -> None:
    async with lab(tmp_path) as api:
        await api.ok("PATCH", f"/v3/users/{bootstrap.DEMO_ID}", {"user": {"password": None}})
    (tmp_path / "demo-password").unlink()
    async with lab(tmp_path) as api:
        assert not (tmp_path / "demo-password").exists()


# --- several servers on one database, each with files of its own -----------------------------------------------------


async def servers(tmp_path: Path, count: int) -> list[Path]:
    """Bootstrap that many servers at once on the database of `tmp_path`."""
    directories = [tmp_path / f"server{n}" for n in range(count)]
    passwords = Passwords()
    databases = [Database(f"sqlite:///{tmp_path}/cove.sqlite") for _ in directories]
    for database in databases:
        await database.start()
    try:
        for directory in directories:
            directory.mkdir(exist_ok=True)
        await asyncio.gather(
            *(
                Bootstrap(database, passwords, directory, own_database=False).run(lambda _: None)
                for database, directory in zip(databases, directories, strict=True)
            )
        )
    finally:
        for database in databases:
            await database.close()
        passwords.close()
    return directories


async def test_of_servers_that_start_at_once_one_has_the_passwords(tmp_path: Path) -> None:
    directories = await servers(tmp_path, 4)
    having = [directory for directory in directories if (directory / "admin-password").exists()]
    assert len(having) == 1
    assert sum(len(list(directory.iterdir())) for directory in directories) == 2, "and the others nothing"
    async with lab(having[0], database_url=f"sqlite:///{tmp_path}/cove.sqlite") as api:
        assert await api.token("admin")
        assert len((await api.ok("GET", "/v3/users"))["users"]) == 2


async def test_a_server_that_comes_later_locks_out_nobody(tmp_path: Path) -> None:
    first = await servers(tmp_path, 1)
    password = (first[0] / "admin-password").read_text()
    await servers(tmp_path, 3)
    assert (first[0] / "admin-password").read_text() == password
    for name in ("server1", "server2"):
        assert list((tmp_path / name).iterdir()) == []
    pending = password_files(tmp_path / "server1")[0].pending
    pending.write_text("left by a kill while another server was faster\n")
    await servers(tmp_path, 2)
    assert not pending.exists()


async def test_the_machines_own_token_remains_when_everything_else_is_lost(api: Lab) -> None:
    await api.ok("DELETE", f"/v3/users/{ADMIN_ID}")
    user = await api.user("admin")
    await api.grant(user, "admin", "system")
    assert (await api.call("GET", "/v3/users", token=LOCAL_TOKEN)).status_code == 200
    assert await api.token("admin", "pw", system={"all": True})
