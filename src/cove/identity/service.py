"""IdentityService: the embedded Identity v3 service as one object with a start and an end.

routes (cove.identity.routes) → handlers (domains, projects, users, …) in a transaction
POST /auth/tokens             → login (grammar) → authentication (proofs, scope) → tokens
any request's X-Auth-Token    → validate → cache → tokens.load
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
import structlog

from cove import tasks
from cove.config import Settings
from cove.db import Database
from cove.identity import tokens
from cove.identity.authentication import Authentication
from cove.identity.bootstrap import Bootstrap
from cove.identity.cache import TokenCache
from cove.identity.call import Call, Query
from cove.identity.errors import Conflict
from cove.identity.passwords import Passwords
from cove.identity.policy import Caller
from cove.identity.tokens import Token

log = structlog.get_logger(__name__)

PRUNE_INTERVAL_S = 60.0
PRUNE_BATCH = 500
TOKEN_LENGTH_MAX = 255

Handler = Callable[[Call], Any]


class IdentityService:
    """Users, projects, roles and tokens. The database is started and closed by the caller."""

    def __init__(
        self,
        db: Database,
        settings: Settings,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.db = db
        self.settings = settings
        self.now = now
        self.passwords = Passwords()
        self.cache = TokenCache(self._read_revision, self._read_token, now=now, monotonic=monotonic)
        self.authentication = Authentication(
            db,
            self.passwords,
            self.validate,
            now=now,
            monotonic=monotonic,
            token_lifetime_s=settings.token_lifetime_s,
        )
        self._pruning: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Make the first objects if they are not there, and begin to prune. Raises OSError, DatabaseError."""
        own_database = self.settings.database_url.startswith("sqlite")
        bootstrap = Bootstrap(self.db, self.passwords, self.settings.state_dir, own_database=own_database)
        await bootstrap.run(self._changed)
        self._pruning = asyncio.create_task(self._prune_for_ever(), name="identity_prune")

    async def stop(self) -> None:
        """May be called again."""
        pruning, self._pruning = self._pruning, None
        await tasks.end([pruning])
        self.passwords.close()

    async def validate(self, text: str) -> Token | None:
        """The valid token that this text is, or None. Usually without a query."""
        if not text or len(text) > TOKEN_LENGTH_MAX:
            return None
        return await self.cache.get(tokens.hash_of(text))

    async def read(self, handler: Handler, **request: Any) -> Any:
        """Run a handler in a reading transaction; its answer. Raises IdentityError."""
        return await self.db.read(lambda connection: handler(self._call(connection, **request)))

    async def write(self, handler: Handler, **request: Any) -> Any:
        """Run a handler in a writing transaction; its answer once that is durable. Raises IdentityError."""

        def run(connection: sa.Connection) -> tuple[Any, bool]:
            call = self._call(connection, **request)
            return handler(call), call.bumped

        def after(result: tuple[Any, bool]) -> None:
            if result[1]:
                self._changed(None)

        try:
            answer, _ = await self.db.write(run, after_commit=after)
        except sa.exc.IntegrityError:
            # The handlers look first; who gets here lost a race for a name, or for what the object refers to.
            raise Conflict("Conflict occurred: somebody else changed this at the same time; try again.") from None
        return answer

    def _call(
        self,
        connection: sa.Connection,
        *,
        caller: Caller,
        params: Mapping[str, str],
        query: Query,
        body: Any,
        base: str,
        v3: str,
        prepared: Any = None,
    ) -> Call:
        return Call(connection, caller, params, query, body, base, v3, self.now(), prepared)

    def _changed(self, _result: Any) -> None:
        self.cache.drop()

    async def _read_revision(self) -> int:
        return await self.db.read(tokens.current_revision)

    async def _read_token(self, id_hash: str) -> tuple[int, Token | None]:
        now = self.now()
        return await self.db.read(
            lambda connection: (tokens.current_revision(connection), tokens.load(connection, id_hash, now))
        )

    # --- pruning -----------------------------------------------------------------------------------------------------

    async def _prune_for_ever(self) -> None:
        while True:
            await asyncio.sleep(PRUNE_INTERVAL_S)
            try:
                await self.prune()
            except Exception:
                log.exception("identity.prune_failed")

    async def prune(self) -> int:
        """Delete expired tokens, in batches that hold up nobody; how many."""
        pruned = 0
        while batch := await self.db.read(self._some_expired):
            await self.db.write(functools.partial(_delete_tokens, batch))
            pruned += len(batch)
        return pruned

    def _some_expired(self, connection: sa.Connection) -> list[str]:
        return tokens.expired(connection, self.now(), PRUNE_BATCH)


def _delete_tokens(hashes: list[str], connection: sa.Connection) -> None:
    tokens.delete_many(connection, hashes)
