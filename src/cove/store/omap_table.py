"""The omap of objects in LMDB: keys of any length in byte order, although LMDB's end at 511 bytes.

A key shorter than `OMAP_BUCKET_LENGTH` has an entry of its own. Longer ones share one entry, a bucket, with all that
begin with the same bytes: its value is a sorted map from the rest of the key to the value. The order of entries is
the order of keys, since a bucket's own key is not shorter than any key that sorts before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..wire.encoding import Decoder, Encoder
from .keys import OMAP_BUCKET_LENGTH, number_prefix
from .layer import OmapChanges

_PREFIX = 8


def _decode_bucket(value: bytes | memoryview) -> dict[bytes, bytes]:
    decoder = Decoder(value)
    return decoder.map(decoder.blob, decoder.blob)


def _encode_bucket(bucket: dict[bytes, bytes]) -> bytes:
    encoder = Encoder()
    encoder.map(bucket, encoder.blob, encoder.blob)
    return encoder.bytes()


def get(txn: Any, table: Any, number: int, key: bytes) -> bytes | None:
    """One value; None if the key is not there."""
    value = txn.get(number_prefix(number) + key[:OMAP_BUCKET_LENGTH], db=table)
    if value is None:
        return None
    if len(key) < OMAP_BUCKET_LENGTH:
        return bytes(value)
    return _decode_bucket(value).get(key[OMAP_BUCKET_LENGTH:])


def iterate(txn: Any, table: Any, number: int, start: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values from `start` (inclusive) on, in order."""
    prefix = number_prefix(number)
    cursor = txn.cursor(table)
    if not cursor.set_range(prefix + start[:OMAP_BUCKET_LENGTH]):
        return
    for entry_key, value in cursor.iternext(keys=True, values=True):
        entry = bytes(entry_key)
        if not entry.startswith(prefix):
            return
        key = entry[_PREFIX:]
        if len(key) < OMAP_BUCKET_LENGTH:
            yield key, bytes(value)
            continue
        for rest, item in sorted(_decode_bucket(value).items()):
            if key + rest >= start:
                yield key + rest, item


def entries(txn: Any, table: Any, number: int, changes: OmapChanges) -> dict[bytes, bytes | None]:
    """The changes as entries of the table; buckets are read, changed and written whole."""
    prefix = number_prefix(number)
    result: dict[bytes, bytes | None] = {}
    buckets: dict[bytes, dict[bytes, bytes]] = {}
    for key, value in changes.keys.items():
        if len(key) < OMAP_BUCKET_LENGTH:
            result[prefix + key] = value
            continue
        entry = prefix + key[:OMAP_BUCKET_LENGTH]
        if entry not in buckets:
            stored = txn.get(entry, db=table)
            buckets[entry] = _decode_bucket(stored) if stored is not None else {}
        if value is None:
            buckets[entry].pop(key[OMAP_BUCKET_LENGTH:], None)
        else:
            buckets[entry][key[OMAP_BUCKET_LENGTH:]] = value
    for entry, bucket in buckets.items():
        result[entry] = _encode_bucket(bucket) if bucket else None
    return result
