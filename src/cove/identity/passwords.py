"""Hashing of passwords and secrets: Argon2id in a small pool of threads, so that logins never hold up the API.

A hash says in itself how it was made (PHC string format), so that parameters can be raised later. Secrets that this
service drew at random have 256 bits; for these one SHA-256 is as hard to invert, and a program that logs in with an
application credential does not pay for a password's hash.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from cove.identity.errors import Busy

T = TypeVar("T")

# OWASP's password storage cheat sheet, the row with the least memory for which lanes = 1: 19 MiB, two passes; 20 ms.
ARGON2_MEMORY_KIB = 19 * 1024
ARGON2_PASSES = 2
ARGON2_LANES = 1
HASH_BYTES = 32
SALT_BYTES = 16
THREADS_MAX = 4
WAITING_MAX = 256
"""Hashes asked for and not done yet; more are refused: the last of these would wait some seconds already."""

PASSWORD_LENGTH_MAX = 4096
RANDOM_PREFIX = "$sha256$"


def new_secret() -> str:
    """A secret of 256 random bits, in 43 characters that are safe in URLs, shells and YAML but for a leading '-'."""
    while (secret := secrets.token_urlsafe(32)).startswith("-"):
        pass
    return secret


def hash_random(secret: str) -> str:
    """The hash of a secret from `new_secret`."""
    return RANDOM_PREFIX + hashlib.sha256(secret.encode()).hexdigest()


def hash_now(password: str) -> str:
    """The hash of a password. Takes some 20 ms, without the interpreter's lock (that of `cryptography` keeps it)."""
    hasher = PasswordHasher(
        time_cost=ARGON2_PASSES,
        memory_cost=ARGON2_MEMORY_KIB,
        parallelism=ARGON2_LANES,
        hash_len=HASH_BYTES,
        salt_len=SALT_BYTES,
    )
    return hasher.hash(_bytes(password))


def verify_now(password: str, stored: str) -> bool:
    """Whether this is the password of a hash. As slow as hashing."""
    if stored.startswith(RANDOM_PREFIX):
        return hmac.compare_digest(hash_random(password), stored)
    try:
        return PasswordHasher().verify(stored, _bytes(password))  # parameters and salt are in the hash
    except VerificationError:
        return False


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")


class Passwords:
    """The pool of threads. `close` it at the end."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(min(THREADS_MAX, os.cpu_count() or 1), thread_name_prefix="cove-password")
        self._waiting = 0
        self._nobodys = hash_now(new_secret())

    async def hash(self, password: str) -> str:
        """The hash to store. Raises Busy."""
        return await self.run(lambda: hash_now(password))

    async def verify(self, password: str, stored: str | None) -> bool:
        """Whether the password is that of the hash. With None, for nobody: takes as long, and is False. Raises Busy."""
        return await self.run(lambda: self.verify_here(password, stored))

    def verify_here(self, password: str, stored: str | None) -> bool:
        """The same, blocking: for what `run` is given."""
        return verify_now(password, self._nobodys if stored is None else stored) and stored is not None

    async def run(self, fn: Callable[[], T]) -> T:
        """Run a function that hashes in one of the threads. Raises Busy, and what it raises."""
        if self._waiting >= WAITING_MAX:
            raise Busy
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, fn)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the threads. What waits is given up."""
        self._pool.shutdown(wait=False, cancel_futures=True)
