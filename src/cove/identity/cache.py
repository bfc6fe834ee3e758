"""Validated tokens in memory, so that a request costs no query; bounded, and never more than a second behind.

All entries are worth something only under one revision (`identity_revision`). The revision in the database is looked at
when a token is used and the last look began more than a second ago; where it has changed, everything is dropped. What
this process changes itself drops the entries at once, after the commit.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from cove.db import DatabaseBusy
from cove.identity.tokens import Token

TOKENS_MAX = 8192
READS_MAX = 2
"""Tokens looked for in the database at once. Anybody can send what looks like one: that must not take all of the
database's readers from those whose tokens are known."""
READS_WAITING_MAX = 1024
READ_S_MAX = 10.0
REVISION_AGE_MAX_S = 1.0

ReadRevision = Callable[[], Awaitable[int]]
ReadToken = Callable[[str], Awaitable[tuple[int, Token | None]]]
"""Hash → the token, and the revision in the same snapshot of the database."""


class TokenCache:
    """Tokens by their hash. `now` is wall-clock time (of expiries); `monotonic` measures the age of the last look."""

    def __init__(
        self,
        read_revision: ReadRevision,
        read_token: ReadToken,
        *,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        tokens_max: int = TOKENS_MAX,
    ) -> None:
        self._read_revision = read_revision
        self._read_token = read_token
        self._now = now
        self._monotonic = monotonic
        self._tokens_max = tokens_max
        self._tokens: OrderedDict[str, Token] = OrderedDict()
        self._revision = -1
        self._looked_at = float("-inf")
        self._looking: asyncio.Task[None] | None = None
        self._drops = 0
        self._room = asyncio.Semaphore(READS_MAX)
        self._reading = 0

    def __len__(self) -> int:
        return len(self._tokens)

    async def get(self, id_hash: str) -> Token | None:
        """The valid token with this hash, or None. Raises DatabaseBusy, and what the functions for reading raise."""
        arrived = self._monotonic()
        while self._looked_at <= arrived - REVISION_AGE_MAX_S:  # twice at most: a look that begins now is young enough
            await self._look()
        token = self._tokens.get(id_hash)
        if token is not None:
            if token.expires_at > self._now():
                self._tokens.move_to_end(id_hash)
                return token
            del self._tokens[id_hash]
            return None
        drops = self._drops
        revision, token = await self._read(id_hash)
        if revision > self._revision:
            self._take(revision)
            drops = self._drops
        # Kept only if nothing has changed since the snapshot in which it was read.
        if token is not None and revision == self._revision and drops == self._drops:
            self._tokens[id_hash] = token
            if len(self._tokens) > self._tokens_max:
                self._tokens.popitem(last=False)
        return token

    async def _read(self, id_hash: str) -> tuple[int, Token | None]:
        if self._reading >= READS_WAITING_MAX:
            raise DatabaseBusy("too many unknown tokens at once")
        self._reading += 1
        try:
            if not self._room.locked():
                await self._room.acquire()
            else:
                try:
                    async with asyncio.timeout(READ_S_MAX):
                        await self._room.acquire()
                except TimeoutError:
                    raise DatabaseBusy(f"no unknown token was looked for in {READ_S_MAX:.0f} s") from None
            try:
                return await self._read_token(id_hash)
            finally:
                self._room.release()
        finally:
            self._reading -= 1

    def drop(self) -> None:
        """Something has changed in this process, and is committed: forget everything."""
        self._drops += 1
        self._tokens.clear()

    def _take(self, revision: int) -> None:
        if revision != self._revision:
            self._revision = revision
            self.drop()

    async def _look(self) -> None:
        """Read the revision. Who comes meanwhile waits for the same answer."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_once(), name="identity_revision")
            self._looking.add_done_callback(self._looked)
        # Shielded: one request that is cancelled must not take the others' answer with it.
        await asyncio.shield(self._looking)

    def _looked(self, _task: asyncio.Task[None]) -> None:
        self._looking = None

    async def _look_once(self) -> None:
        began = self._monotonic()
        self._take(await self._read_revision())
        self._looked_at = began
