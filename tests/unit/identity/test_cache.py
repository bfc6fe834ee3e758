"""Validated tokens in memory: when they are looked up, kept, dropped. With a database that answers when told to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from cove.db import DatabaseBusy
from cove.identity.cache import READS_MAX, REVISION_AGE_MAX_S, TokenCache
from cove.identity.tokens import Named, Scope, Token

ANYBODY = Named("u", "u")


def token(id_hash: str, expires_at: float = 1000.0) -> Token:
    return Token(id_hash, ANYBODY, ANYBODY, Scope(), (), ("password",), ("a",), 0.0, expires_at)


@dataclass
class Store:
    """What the database holds, and what was asked of it. `gate` holds up the answers to reads of tokens."""

    revision: int = 1
    tokens: dict[str, Token] = field(default_factory=dict)
    now: float = 0.0
    revision_reads: int = 0
    token_reads: int = 0
    gate: asyncio.Event | None = None
    revision_gate: asyncio.Event | None = None

    def cache(self, tokens_max: int = 100) -> TokenCache:
        return TokenCache(
            self.read_revision, self.read_token, now=lambda: self.now, monotonic=lambda: self.now, tokens_max=tokens_max
        )

    async def read_revision(self) -> int:
        self.revision_reads += 1
        answer = self.revision
        if self.revision_gate is not None:
            await self.revision_gate.wait()
        return answer

    async def read_token(self, id_hash: str) -> tuple[int, Token | None]:
        self.token_reads += 1
        answer = self.revision, self.tokens.get(id_hash)
        if self.gate is not None:
            await self.gate.wait()
        return answer


@pytest.fixture
def store() -> Store:
    return Store(tokens={name: token(name) for name in "abcdef"})


async def test_one_read_then_none(store: Store) -> None:
    cache = store.cache()
    for _ in range(5):
        assert await cache.get("a") == store.tokens["a"]
    assert (store.token_reads, store.revision_reads) == (1, 1)


async def test_the_revision_is_looked_at_once_a_second_and_only_when_used(store: Store) -> None:
    cache = store.cache()
    await cache.get("a")
    for tick in range(100):
        store.now = tick * 0.1
        await cache.get("a")
    assert store.revision_reads == 10
    store.now += 3600 - store.now
    assert store.revision_reads == 10
    assert store.token_reads == 1


async def test_another_process_changes_something(store: Store) -> None:
    cache = store.cache()
    await cache.get("a")
    del store.tokens["a"]
    store.revision += 1
    store.now += REVISION_AGE_MAX_S / 2
    assert await cache.get("a") is not None, "not looked at yet"
    store.now += REVISION_AGE_MAX_S / 2
    assert await cache.get("a") is None
    assert len(cache) == 0


async def test_a_read_that_shows_a_newer_revision_drops_everything_at_once(store: Store) -> None:
    cache = store.cache()
    await cache.get("a")
    del store.tokens["a"]
    store.revision += 1
    await cache.get("b")
    assert await cache.get("a") is None


async def test_what_was_read_before_a_change_here_is_not_kept(store: Store) -> None:
    cache = store.cache()
    await cache.get("b")
    store.gate = asyncio.Event()
    asked = asyncio.create_task(cache.get("a"))
    await asyncio.sleep(0)
    store.revision += 1
    cache.drop()
    store.gate.set()
    assert await asked is not None, "the request began before the change"
    del store.tokens["a"]
    assert await cache.get("a") is None


async def test_an_old_snapshot_is_not_kept(store: Store) -> None:
    cache = store.cache()
    store.gate = asyncio.Event()
    asked = asyncio.create_task(cache.get("a"))
    while not store.token_reads:
        await asyncio.sleep(0)
    gate, store.gate = store.gate, None
    store.revision += 1
    await cache.get("b")  # a newer snapshot is known
    gate.set()
    await asked
    assert len(cache) == 1


async def test_an_expired_one_goes(store: Store) -> None:
    store.tokens["a"] = token("a", expires_at=0.5)
    cache = store.cache()
    assert await cache.get("a") is not None
    store.now = 0.5
    assert await cache.get("a") is None
    assert len(cache) == 0


async def test_it_is_bounded_and_keeps_what_is_used(store: Store) -> None:
    cache = store.cache(tokens_max=3)
    for name in "abc":
        await cache.get(name)
    await cache.get("a")
    await cache.get("d")
    assert len(cache) == 3
    reads = store.token_reads
    await cache.get("a")
    assert store.token_reads == reads
    await cache.get("b")
    assert store.token_reads == reads + 1


async def test_unknown_tokens_are_not_kept(store: Store) -> None:
    cache = store.cache()
    for _ in range(3):
        assert await cache.get("nothing") is None
    assert len(cache) == 0
    assert store.token_reads == 3


async def test_forged_tokens_take_few_of_the_databases_readers(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """And those whose tokens are known do not wait behind them."""
    monkeypatch.setattr("cove.identity.cache.READS_WAITING_MAX", 20)
    cache = store.cache()
    await cache.get("a")
    store.gate = asyncio.Event()
    forged = [asyncio.create_task(cache.get(f"forged {n}")) for n in range(20)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert store.token_reads == 1 + READS_MAX
    with pytest.raises(DatabaseBusy):
        await cache.get("one more")
    store.now += 10
    assert await cache.get("a") is not None
    forged[0].cancel()
    forged[-1].cancel()
    store.gate.set()
    answers = await asyncio.gather(*forged, return_exceptions=True)
    assert sum(answer is None for answer in answers) == 18
    assert await cache.get("b") is not None, "all room was given back"
    assert cache._room._value == READS_MAX
    assert cache._reading == 0


async def test_many_share_one_look_and_none_trusts_one_that_is_too_old(store: Store) -> None:
    cache = store.cache()
    await cache.get("a")
    store.now += 10
    store.revision_gate = asyncio.Event()
    waiting = [asyncio.create_task(cache.get("a")) for _ in range(10)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert store.revision_reads == 2
    # The look takes long; who comes so late may not rely on when it began.
    store.now += 10
    del store.tokens["a"]
    store.revision += 1
    late = asyncio.create_task(cache.get("a"))
    await asyncio.sleep(0)
    store.revision_gate.set()
    assert None not in await asyncio.gather(*waiting)
    assert await late is None
    assert store.revision_reads == 3


async def test_a_cancelled_request_takes_nobody_along(store: Store) -> None:
    cache = store.cache()
    store.revision_gate = asyncio.Event()
    first, second = asyncio.create_task(cache.get("a")), asyncio.create_task(cache.get("a"))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    store.revision_gate.set()
    assert await second is not None


async def test_a_database_that_fails_is_told_and_asked_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails() -> int:
        raise OSError("gone")

    cache = TokenCache(fails, store.read_token, now=lambda: 0.0, monotonic=lambda: 0.0)
    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            await cache.get("a")
