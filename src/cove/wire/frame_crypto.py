"""Secure mode's cipher: one direction of a connection, AES-128-GCM with a counter in its nonce.

A frame in secure mode is one to three units sealed one after the other (`frames.py` says which); each has its own
nonce and its own 16-byte tag behind it. The counter is the only state, and both ends count alike.

Source: Ceph's doc/dev/msgr2 ("Message frame format", secure mode), msg/async/crypto_onwire.cc.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .encoding import Buffer
from .errors import PeerError

GCM_TAG_BYTES: Final = 16
KEY_BYTES: Final = 16
NONCE_BYTES: Final = 12
_FIXED_BYTES = 4
_COUNTER_MASK = 0xFFFFFFFFFFFFFFFF


class SecureKeys(NamedTuple):
    """What the connection secret is cut into: one key for both directions, a first nonce for each."""

    key: bytes
    to_connector: bytes
    to_acceptor: bytes

    def __repr__(self) -> str:
        return "SecureKeys(...)"


def secure_keys(connection_secret: bytes) -> SecureKeys:
    """Key and nonces out of the secret that authentication ended with (64 bytes, 40 of them used).

    Raises PeerError if it is too short: the server chose secure mode, and did not provide for it.
    """
    end = KEY_BYTES + 2 * NONCE_BYTES
    if len(connection_secret) < end:
        raise PeerError(f"secure mode with a connection secret of {len(connection_secret)} bytes; {end} are needed")
    return SecureKeys(
        connection_secret[:KEY_BYTES],
        connection_secret[KEY_BYTES : KEY_BYTES + NONCE_BYTES],
        connection_secret[KEY_BYTES + NONCE_BYTES : end],
    )


class DirectionCipher:
    """Seals or opens the units of one direction, in order."""

    __slots__ = ("_aead", "_counter", "_fixed", "_start", "_used")

    def __init__(self, key: bytes, nonce: bytes) -> None:
        self._aead = AESGCM(key)
        self._fixed = nonce[:_FIXED_BYTES]
        self._start = self._counter = int.from_bytes(nonce[_FIXED_BYTES:NONCE_BYTES], "little")
        self._used = False

    def _next_nonce(self) -> bytes:
        counter = self._counter
        if counter == self._start and self._used:
            raise PeerError("all nonces of this connection are used up: it has to be closed")
        self._used = True
        self._counter = (counter + 1) & _COUNTER_MASK
        return self._fixed + counter.to_bytes(8, "little")

    def seal(self, plaintext: Buffer) -> bytes:
        """Ciphertext and tag. Raises PeerError when the nonces have come full circle."""
        return self._aead.encrypt(self._next_nonce(), plaintext, None)

    def open(self, sealed: Buffer, unit: str) -> bytes:
        """The plaintext. Raises PeerError naming `unit` if the tag is wrong."""
        try:
            return self._aead.decrypt(self._next_nonce(), sealed, None)
        except InvalidTag:
            raise PeerError(f"the GCM tag of {unit} is wrong") from None
