"""Rotating secrets: what the monitors and a service share, and what the tickets for that service are sealed with.

Three are known at any time. Tickets are sealed with the middle one, so that a service which has not yet heard of the
newest can open them, and one that still holds an older ticket is let in. A ticket ends when its secret is dropped.

Source: Ceph's auth/cephx/CephxKeyServer.h (rules), doc/dev/cephx.
"""

from __future__ import annotations

from ..errors import UsageError
from ..types import EntityType
from .keys import CryptoKey, KeyType, RandomBytes
from .structures import ExpiringKey, RotatingSecrets

NS_PER_HOUR = 3_600_000_000_000
AUTH_TTL_NS = 72 * NS_PER_HOUR
SERVICE_TTL_NS = NS_PER_HOUR
ROTATED_SERVICES = (EntityType.AUTH, EntityType.MON, EntityType.OSD, EntityType.MDS, EntityType.MGR)
NO_SECRETS = RotatingSecrets({})

_KEPT = 3
_MIDDLE = 1
_TIME_MAX_NS = 2**32 * 1_000_000_000


def renew(
    known: RotatingSecrets, now_ns: int, ttl_ns: int, key_type: KeyType, random_bytes: RandomBytes
) -> RotatingSecrets:
    """The secrets as they are to be at `now_ns`; the same object if nothing is due.

    Raises UsageError if a time is beyond what can be encoded (the year 2106).
    """
    secrets, max_id = dict(sorted(known.secrets.items())[-_KEPT:]), known.max_id
    while len(secrets) < _KEPT or sorted(secrets.items())[_MIDDLE][1].expires_ns <= now_ns:
        expires_ns = now_ns + ttl_ns
        if secrets:
            expires_ns = max(expires_ns, *(secret.expires_ns for secret in secrets.values())) + ttl_ns
        if not 0 <= now_ns < expires_ns < _TIME_MAX_NS:
            raise UsageError(f"a secret that ends {expires_ns} ns after 1970 can't be encoded")
        max_id += 1
        secrets[max_id] = ExpiringKey(CryptoKey.generate(key_type, random_bytes, now_ns), expires_ns)
        if len(secrets) > _KEPT:
            del secrets[min(secrets)]
    return known if max_id == known.max_id else RotatingSecrets(secrets, max_id)


def sealing_secret(known: RotatingSecrets, now_ns: int, ttl_ns: int) -> tuple[int, CryptoKey, int]:
    """What a ticket made at `now_ns` is sealed with: secret id, key, and for how many nanoseconds it is to be valid."""
    (_, _), (middle_id, middle), (newest_id, newest) = sorted(known.secrets.items())
    chosen_id, chosen = (newest_id, newest) if middle.expires_ns <= now_ns else (middle_id, middle)
    return chosen_id, chosen.key, min(ttl_ns, newest.expires_ns - now_ns)
