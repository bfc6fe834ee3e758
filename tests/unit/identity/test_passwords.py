"""Hashes: what they cost, what they say of themselves, that nobody is held up by them."""

from __future__ import annotations

import asyncio
import runpy
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cove.identity import passwords
from cove.identity.errors import Busy
from cove.identity.passwords import Passwords, hash_now, hash_random, new_secret, verify_now


@pytest.fixture
def pool() -> Iterator[Passwords]:
    made = Passwords()
    yield made
    made.close()


def test_the_parameters() -> None:
    """What the OWASP cheat sheet asks for at least; lowered only in tests of other things."""
    fresh = runpy.run_path(str(passwords.__file__))
    assert (fresh["ARGON2_MEMORY_KIB"], fresh["ARGON2_PASSES"], fresh["ARGON2_LANES"]) == (19 * 1024, 2, 1)


def test_form() -> None:
    assert hash_now("pw").startswith("$argon2id$v=19$m=16,t=1,p=1$")
    assert hash_now("pw") != hash_now("pw"), "salted"
    assert len(hash_now("x" * 4096)) < 255


@settings(max_examples=30)
@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=60))
def test_only_the_same_password(first: str, second: str) -> None:
    assert verify_now(first, hash_now(first))
    assert verify_now(second, hash_now(first)) == (first == second)


def test_hashes_made_with_other_parameters_are_good(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = hash_now("pw")
    monkeypatch.setattr(passwords, "ARGON2_PASSES", 3)
    assert verify_now("pw", stored)
    assert hash_now("pw").startswith("$argon2id$v=19$m=16,t=3")


def test_random_secrets() -> None:
    secrets = {new_secret() for _ in range(500)}
    assert len(secrets) == 500
    assert all(len(secret) == 43 and not secret.startswith("-") for secret in secrets)
    secret = new_secret()
    assert verify_now(secret, hash_random(secret))
    assert not verify_now(secret + "x", hash_random(secret))


async def test_nobodys_password(pool: Passwords) -> None:
    assert not await pool.verify("pw", None)
    assert await pool.verify("pw", await pool.hash("pw"))


async def test_what_the_function_raises(pool: Passwords) -> None:
    def refuse() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await pool.run(refuse)


async def test_the_loop_goes_on_meanwhile(pool: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that together take long; the event loop must turn all the time."""
    monkeypatch.setattr(passwords, "ARGON2_MEMORY_KIB", 64 * 1024)
    monkeypatch.setattr(passwords, "ARGON2_PASSES", 4)
    turns = 0
    hashing = [asyncio.create_task(pool.hash("pw")) for _ in range(4)]
    began = time.monotonic()
    while not all(one.done() for one in hashing):
        await asyncio.sleep(0)
        turns += 1
    took_ms = (time.monotonic() - began) * 1000
    assert turns > took_ms, "more than a turn a millisecond"


async def test_a_bound_on_what_waits(pool: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "WAITING_MAX", 3)
    results = await asyncio.gather(*(pool.hash("pw") for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(result, Busy) for result in results) == 7
    assert isinstance(await pool.hash("pw"), str), "room again"
