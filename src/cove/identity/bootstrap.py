"""The first objects: a domain, two projects, two users, the roles, and what the catalogue says of Cove itself.

They are made once, in one transaction with the row of `identity_revision`; what an admin deletes later stays deleted.
All have ids that follow from their names, so that several servers that start at once on one database make the same.

The passwords of `admin` and `demo` are drawn here and kept in files beside the database, for their owner alone. A file
`<name>-password.new` is written before the hash is committed, and gets its name after that: whatever is killed in
between, the next start finds which of the two steps is missing. Deleting the file has the next start draw a new
password, where the database is this machine's own (SQLite); on one that is shared, a server that was started later
would lock out everybody else.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog

from cove.db import Database
from cove.identity import models
from cove.identity.assignments import SYSTEM_ID
from cove.identity.domains import DEFAULT_ID
from cove.identity.passwords import Passwords, new_secret
from cove.linux.files import read_text, remove, sync_directory, write_atomic

log = structlog.get_logger(__name__)

IDENTITY_PATH = "/identity/v3"
"""Where the catalogue has this API. Not at "/v3": clients look for versions one step up, and "/" is Networking's."""
REGION = "RegionOne"
ROLES = ("admin", "manager", "member", "reader", "service")
IMPLIED = (("admin", "manager"), ("manager", "member"), ("member", "reader"))
ATTEMPTS_MAX = 5


def fixed_id(kind: str, name: str) -> str:
    """The id of a first object. That of the project demo is also cove.network.DEMO_PROJECT_ID."""
    return uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.{kind}.cove").hex


ADMIN_ID = fixed_id("user", "admin")
DEMO_ID = fixed_id("user", "demo")
ADMIN_PROJECT_ID = fixed_id("project", "admin")
DEMO_PROJECT_ID = fixed_id("project", "demo")


@dataclass(frozen=True, slots=True)
class Files:
    """Where the password of a user is kept."""

    user_id: str
    path: Path

    @property
    def pending(self) -> Path:
        """Its name before the hash is committed."""
        return self.path.with_name(f"{self.path.name}.new")


def password_files(state_dir: Path) -> tuple[Files, Files]:
    """Those of admin and demo."""
    return (
        Files(ADMIN_ID, state_dir / "admin-password"),
        Files(DEMO_ID, state_dir / "demo-password"),
    )


class Bootstrap:
    """One start's work. `own_database`: whether nobody else's users are in it."""

    def __init__(self, db: Database, passwords: Passwords, state_dir: Path, *, own_database: bool) -> None:
        self._db = db
        self._passwords = passwords
        self._state_dir = state_dir
        self._own_database = own_database

    async def run(self, after_commit: Callable[[Any], None]) -> None:
        """Make what is missing. `after_commit` is called when somebody's tokens have ended."""
        files = password_files(self._state_dir)
        if await self._db.read(_is_done) or not await self._make(files):
            for each in files:
                await self._settle(each, after_commit)
        else:
            for each in files:
                _finish(each)

    async def _make(self, files: tuple[Files, ...]) -> bool:
        """The objects, with passwords that are in the files already. False if another server was faster."""
        prepared = [_prepared(each) for each in files]
        hashes = await asyncio.gather(*(self._passwords.hash(password) for password in prepared))
        by_user = {each.user_id: hashed for each, hashed in zip(files, hashes, strict=True)}
        try:
            made = await self._db.write(lambda connection: _insert_all(connection, by_user))
        except sa.exc.IntegrityError:
            made = False
            if not await self._db.read(_is_done):
                raise
        log.info("identity.bootstrap", by_another=not made)
        return made

    async def _settle(self, files: Files, after_commit: Callable[[Any], None]) -> None:
        """Make the user's hash and its file agree. See the table in the module's test."""
        stored = await self._db.read(lambda connection: _stored_hash(connection, files.user_id))
        pending = _read(files.pending)
        if stored is None:  # deleted, or without a password, by an admin
            remove(files.pending)
            return
        if pending is None:
            if files.path.exists():
                return
            if not self._own_database:
                log.info("identity.password_kept_elsewhere", file=str(files.path))
                return
            pending = _draw(files)
        if not await self._passwords.verify(pending, stored):
            if not self._own_database:
                remove(files.pending)
                return
            fresh = await self._passwords.hash(pending)
            await self._db.write(
                lambda connection: _set_hash(connection, files.user_id, fresh), after_commit=after_commit
            )
            log.warning("identity.password_renewed", file=str(files.path))
        _finish(files)


def _finish(files: Files) -> None:
    """The hash is committed: the password's file gets its name."""
    files.pending.rename(files.path)
    sync_directory(files.path.parent)


def _prepared(files: Files) -> str:
    """The password that a user is to have: that of a file, which may be from an earlier start; or a new one."""
    return _read(files.pending) or _adopt(files) or _draw(files)


def _adopt(files: Files) -> str | None:
    """The password of a file whose database is gone."""
    kept = _read(files.path)
    if kept is not None:
        files.path.chmod(0o600)
        files.path.rename(files.pending)
    return kept


def _draw(files: Files) -> str:
    password = new_secret()
    write_atomic(files.pending, password + "\n", mode=0o600, durable=True)
    return password


def _read(path: Path) -> str | None:
    return (read_text(path) or "").strip() or None


def read_password(path: Path) -> str | None:
    """The password in a file, None if there is none. Raises PermissionError."""
    return _read(path)


def _is_done(connection: sa.Connection) -> bool:
    return connection.execute(sa.select(models.revision.c.counter)).first() is not None


def _stored_hash(connection: sa.Connection, user_id: str) -> str | None:
    found = connection.execute(sa.select(models.users.c.password_hash).where(models.users.c.id == user_id)).scalar()
    return None if found is None else str(found)


def _set_hash(connection: sa.Connection, user_id: str, password_hash: str) -> None:
    users, tokens = models.users, models.tokens
    connection.execute(users.update().where(users.c.id == user_id).values(password_hash=password_hash))
    connection.execute(tokens.delete().where(tokens.c.user_id == user_id))
    connection.execute(models.revision.update().values(counter=models.revision.c.counter + 1))


def _insert_all(connection: sa.Connection, hashes: dict[str, str]) -> bool:
    """All first objects; False if they are there. Raises IntegrityError if another server makes them just now."""
    if _is_done(connection):
        return False
    role_ids = {name: fixed_id("role", name) for name in ROLES}
    identity, network = fixed_id("service", "identity"), fixed_id("service", "network")
    first: tuple[tuple[sa.Table, list[dict[str, Any]]], ...] = (
        (models.revision, [{"id": 1, "counter": 1}]),
        (
            models.domains,
            [
                {
                    "id": DEFAULT_ID,
                    "name": "Default",
                    "description": "The default domain",
                    "enabled": True,
                    "tags": [],
                }
            ],
        ),
        (
            models.projects,
            [
                {
                    "id": project_id,
                    "domain_id": DEFAULT_ID,
                    "name": name,
                    "parent_id": None,
                    "description": description,
                    "enabled": True,
                    "tags": [],
                    "extra": {},
                }
                for project_id, name, description in (
                    (ADMIN_PROJECT_ID, "admin", "Of who runs this cloud"),
                    (DEMO_PROJECT_ID, "demo", "To try things out; what the cove command makes is here"),
                )
            ],
        ),
        (
            models.users,
            [
                {
                    "id": user_id,
                    "domain_id": DEFAULT_ID,
                    "name": name,
                    "password_hash": hashes[user_id],
                    "enabled": True,
                    "default_project_id": None,
                    "description": None,
                    "extra": {},
                }
                for user_id, name in ((ADMIN_ID, "admin"), (DEMO_ID, "demo"))
            ],
        ),
        (
            models.roles,
            [{"id": role_ids[name], "name": name, "description": None, "immutable": True} for name in ROLES],
        ),
        (
            models.implied_roles,
            [{"prior_role_id": role_ids[prior], "implied_role_id": role_ids[implied]} for prior, implied in IMPLIED],
        ),
        (
            models.assignments,
            [
                {"user_id": user_id, "scope": scope, "scope_id": scope_id, "role_id": role_ids[role]}
                for user_id, scope, scope_id, role in (
                    (ADMIN_ID, "project", ADMIN_PROJECT_ID, "admin"),
                    (ADMIN_ID, "project", DEMO_PROJECT_ID, "admin"),
                    (ADMIN_ID, "system", SYSTEM_ID, "admin"),
                    (DEMO_ID, "project", DEMO_PROJECT_ID, "member"),
                )
            ],
        ),
        (models.regions, [{"id": REGION, "description": "", "parent_region_id": None}]),
        (
            models.services,
            [
                {"id": service_id, "type": kind, "name": name, "description": None, "enabled": True}
                for service_id, kind, name in ((identity, "identity", "keystone"), (network, "network", "neutron"))
            ],
        ),
        (
            models.endpoints,
            [
                {
                    "id": fixed_id("endpoint", f"{interface}.{kind}"),
                    "service_id": service_id,
                    "region_id": REGION,
                    "interface": interface,
                    "url": url,
                    "enabled": True,
                }
                for service_id, kind, url in ((identity, "identity", IDENTITY_PATH), (network, "network", ""))
                for interface in ("public", "internal", "admin")
            ],
        ),
    )
    for table, rows in first:
        connection.execute(table.insert(), rows)
    return True
