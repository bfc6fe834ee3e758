"""Where the API's users are: in the embedded Identity service, or in a Keystone. One object for the server to start."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ..api.auth import Authenticator, EmbeddedIdentity
from ..api.keystone import KeystoneAuthenticator
from ..config import Settings
from ..db import Database
from ..errors import CoveError
from ..identity import IdentityService
from ..identity.clouds import render
from ..linux.files import write_atomic

CLOUDS_FILE = "clouds.yaml"
LOCK_FILE = "users.lock"
LOCK_WAIT_S = 60.0
LOCK_INTERVAL_S = 0.05


class Users:
    """`start` it once the database is open; `identity` is None with a Keystone."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self.identity: IdentityService | None = None
        self._keystone: KeystoneAuthenticator | None = None
        if settings.identity:
            self._keystone = KeystoneAuthenticator(settings)
        else:
            self.identity = IdentityService(database, settings)

    @property
    def authenticator(self) -> Authenticator:
        """Knows the tokens of these users."""
        if self.identity is not None:
            return EmbeddedIdentity(self.identity)
        assert self._keystone is not None
        return self._keystone

    async def start(self) -> None:
        """Make the first users, if need be. Raises CoveError, OSError."""
        if self.identity is not None:
            async with _alone(self._settings.state_dir / LOCK_FILE):
                await self.identity.start()

    async def stop(self) -> None:
        """May be called again."""
        if self.identity is not None:
            await self.identity.stop()
        if self._keystone is not None:
            await self._keystone.close()

    def write_clouds(self, api_url: str) -> Path | None:
        """Write clouds.yaml for root, now that the API's address is known; None with a Keystone. Blocking."""
        if self.identity is None:
            return None
        path = self._settings.run_dir / CLOUDS_FILE
        auth_url = f"{self._settings.api_public_url or api_url}/v3"
        write_atomic(path, render(auth_url, self._settings.state_dir), mode=0o600)
        return path


@asynccontextmanager
async def _alone(path: Path) -> AsyncIterator[None]:
    """Of servers that start at once and keep the first passwords in one directory, one makes them. Raises CoveError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            async with asyncio.timeout(LOCK_WAIT_S):
                while not _locked(descriptor):  # noqa: ASYNC110  # another process's, which can set no Event here
                    await asyncio.sleep(LOCK_INTERVAL_S)
        except TimeoutError:
            raise CoveError(
                f"another server has held {path} for {LOCK_WAIT_S:.0f} s while it starts: see its log, or give this "
                "one a state_dir of its own"
            ) from None
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
