"""How often a login may fail: token buckets by user and client address. No I/O, no clock of its own.

Only failures cost something, so that programs may log in as often as they like. Two buckets must both have something
left: one for this user from this address (few tries, refilled slowly), and one for the address (against trying many
names). A bucket that is emptied locks for a while. There is none for a user alone: that would let anybody lock out
anybody. Names that do not exist are counted like those that do. An address of IPv6 counts as its /64: that is what one
client has of them.
"""

from __future__ import annotations

import ipaddress
import math
import threading
from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """`burst` failures at once, one more each `refill_s` seconds; once empty, locked for `lock_s` seconds."""

    burst: int
    refill_s: float
    lock_s: float


IPV6_PREFIX = 64

USER_LIMIT = Limit(burst=6, refill_s=10.0, lock_s=30.0)
ADDRESS_LIMIT = Limit(burst=60, refill_s=1.0, lock_s=10.0)
KEYS_MAX = 10_000
"""Buckets kept of each kind; beyond that, the one that was touched longest ago is forgotten."""


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float
    locked_until: float = float("-inf")


class Buckets:
    """Bounded token buckets by key."""

    def __init__(self, limit: Limit, keys_max: int = KEYS_MAX) -> None:
        self._limit = limit
        self._keys_max = keys_max
        self._buckets: OrderedDict[tuple[str, ...], _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, key: tuple[str, ...], now: float) -> float:
        """Seconds until this key may try again; 0 if it may now."""
        bucket = self._buckets.get(key)
        if bucket is None:
            return 0.0
        return max(0.0, bucket.locked_until - now)

    def failed(self, key: tuple[str, ...], now: float) -> None:
        """A try failed."""
        limit = self._limit
        bucket = self._buckets.pop(key, None) or _Bucket(left=float(limit.burst), at=now)
        # A clock that goes back gives nothing.
        refilled = max(0.0, now - bucket.at) / limit.refill_s
        bucket.left = min(float(limit.burst), bucket.left + refilled) - 1.0
        bucket.at = max(bucket.at, now)
        if bucket.left < 1.0:
            bucket.left = max(bucket.left, 0.0)
            bucket.locked_until = now + limit.lock_s
        self._buckets[key] = bucket
        while len(self._buckets) > self._keys_max:
            self._buckets.popitem(last=False)

    def succeeded(self, key: tuple[str, ...]) -> None:
        """Forget the failures."""
        self._buckets.pop(key, None)


class Attempts:
    """What a login asks before it looks at the password, and tells afterwards. Takes calls from several threads."""

    def __init__(self, user_limit: Limit = USER_LIMIT, address_limit: Limit = ADDRESS_LIMIT) -> None:
        self._users = Buckets(user_limit)
        self._addresses = Buckets(address_limit)
        self._lock = threading.Lock()

    def retry_after_s(self, user: str, address: str, now: float) -> int:
        """Whole seconds that this user at this address has to wait; 0 if it may try."""
        address = counted_as(address)
        with self._lock:
            wait_s = max(self._users.wait_s((user, address), now), self._addresses.wait_s((address,), now))
        return math.ceil(wait_s)

    def failed(self, user: str, address: str, now: float) -> None:
        """The password or secret was wrong, or there is no such user."""
        address = counted_as(address)
        with self._lock:
            self._users.failed((user, address), now)
            self._addresses.failed((address,), now)

    def succeeded(self, user: str, address: str) -> None:
        """The password was right. The address keeps its failures: it may own one of the accounts it tries."""
        with self._lock:
            self._users.succeeded((user, counted_as(address)))


def counted_as(address: str) -> str:
    """The client that an address stands for: itself, or the network that is one client's."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]  # what a trusted proxy says, or a test
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, IPV6_PREFIX), strict=False))
