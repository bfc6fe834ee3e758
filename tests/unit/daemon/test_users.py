"""Where the users are: the embedded service or a Keystone; the file that tells clients."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from cove.api.auth import EmbeddedIdentity
from cove.api.keystone import KeystoneAuthenticator
from cove.config import Settings
from cove.daemon.users import Users
from cove.db import Database
from cove.errors import CoveError
from cove.identity import bootstrap, models
from cove.identity.passwords import verify_now


async def test_the_embedded_service(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, run_dir=tmp_path)
    database = Database(settings.database_url)
    await database.start()
    users = Users(settings, database)
    try:
        await users.start()
        assert isinstance(users.authenticator, EmbeddedIdentity)
        path = users.write_clouds("http://127.0.0.1:1234")
        assert path is not None
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert 'auth_url: "http://127.0.0.1:1234/v3"' in path.read_text()
        assert (tmp_path / "admin-password").read_text().strip() in path.read_text()
    finally:
        await users.stop()
        await users.stop()
        await database.close()


def test_the_address_for_others(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, run_dir=tmp_path, api_public_url="https://cloud.example")
    (tmp_path / "admin-password").write_text("secret\n")
    path = Users(settings, Database(settings.database_url)).write_clouds("http://127.0.0.1:1234")
    assert path is not None
    assert 'auth_url: "https://cloud.example/v3"' in path.read_text()


async def test_a_keystone(tmp_path: Path) -> None:
    password = tmp_path / "password"
    settings = Settings(
        state_dir=tmp_path, run_dir=tmp_path, identity="https://keystone.example/v3", identity_password_file=password
    )
    database = Database(settings.database_url)
    with pytest.raises(CoveError, match="identity_password_file"):
        Users(settings, database)
    password.write_text("secret\n")
    password.chmod(0o600)
    users = Users(settings, database)
    await users.start()
    assert users.identity is None
    assert isinstance(users.authenticator, KeystoneAuthenticator)
    assert users.write_clouds("http://127.0.0.1:1234") is None
    await users.stop()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["password"]


@pytest.mark.parametrize("url", ["cloud.example", "https://cloud.example/", "https://cloud.example/x", "ftp://x"])
def test_what_is_no_public_url(url: str) -> None:
    with pytest.raises(ValueError, match="api_public_url"):
        Settings(api_public_url=url)


def test_servers_that_start_at_once_in_one_directory_agree_on_the_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would write the file and the hash; the file of one and the hash of another is a password that is wrong."""
    url = f"sqlite:///{tmp_path}/cove.sqlite"
    # Shared by name: nobody heals there what does not agree, as that would lock out the others.
    settings = Settings(state_dir=tmp_path, run_dir=tmp_path, database_url="postgresql://cove@db.example/cove")
    together = threading.Barrier(3)
    drawn: list[str] = []
    draw = bootstrap._draw

    def slow_draw(files: bootstrap.Files) -> str:
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait(0.5)  # for the others, who must not come here
        drawn.append(draw(files))
        return drawn[-1]

    monkeypatch.setattr(bootstrap, "_draw", slow_draw)

    async def serve(number: int) -> str:
        database = Database(url)
        await database.start()
        users = Users(settings, database)
        try:
            await users.start()
            return await database.read(
                lambda connection: connection.execute(
                    sa.select(models.users.c.password_hash).where(models.users.c.name == "admin")
                ).scalar_one()
            )
        finally:
            await users.stop()
            await database.close()

    asyncio.run(_make_schema(url))
    with ThreadPoolExecutor(3) as pool:
        hashes = set(pool.map(lambda number: asyncio.run(serve(number)), range(3)))
    assert len(drawn) == 2, "one server's, for admin and demo"
    (stored,) = hashes
    assert verify_now((tmp_path / "admin-password").read_text().strip(), stored)
    assert not list(tmp_path.glob("*.new"))
    assert stat.S_IMODE((tmp_path / "users.lock").stat().st_mode) == 0o600


async def _make_schema(url: str) -> None:
    database = Database(url)
    await database.start()
    await database.close()


async def test_a_server_that_never_ends_its_start_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cove.daemon.users.LOCK_WAIT_S", 0.1)
    settings = Settings(state_dir=tmp_path, run_dir=tmp_path)
    database = Database(settings.database_url)
    users = Users(settings, database)
    with (tmp_path / "users.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CoveError, match="state_dir"):
            await users.start()
    await users.stop()
