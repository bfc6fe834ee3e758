"""Keys of cephx: their two ciphers, the sealed envelope around every secret structure, and the proof of a login.

Type `aes` is AES-128-CBC with a fixed IV and no MAC: the magic in the envelope is all that tells a wrong key. Type
`aes256k` is aes256-cts-hmac-sha384-192, where every purpose ("usage") has keys of its own and each message a MAC. The
type travels with the key; nothing is negotiated.

Source: Ceph's auth/Crypto.h, auth/cephx/CephxProtocol.h; RFC 8009 (aes256-cts-hmac-sha384-192).
"""

from __future__ import annotations

import base64
import hmac
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB

from ..encoding import Buffer, Decoder, Encoder
from ..errors import PeerError, UsageError
from ..structure import Codec

RandomBytes = Callable[[int], bytes]
"""A source of that many unpredictable bytes; `os.urandom` outside tests."""


class KeyType(IntEnum):
    """Ciphers, by the number in an encoded key."""

    NONE = 0
    AES = 1
    AES256K = 2


class Usage(IntEnum):
    """What a sealed structure is; `aes256k` derives different keys for each."""

    CONNECTION_SECRET = 0x03
    SERVICE_TICKET = 0x04
    WRAPPED_TICKET = 0x05
    AUTHORIZE = 0x10
    AUTHORIZE_CHALLENGE = 0x11
    AUTHORIZE_REPLY = 0x12
    ROTATING_SECRETS = 0x20
    TICKET_INFO = 0x30


SECRET_BYTES: Final = {KeyType.NONE: 0, KeyType.AES: 16, KeyType.AES256K: 32}
"""Length of a new secret, and the least that a given one must have. Longer ones are legal."""

_BLOCK = 16
_AES_IV = b"cephsageyudagreg"
_ZERO_IV = bytes(_BLOCK)
_MAC_BYTES = 24
_CIPHER_KEY, _MAC_KEY = 0xAA, 0x55
_ENVELOPE = struct.pack("<BQ", 1, 0xFF009CAD8826AA55)
_MASK = 2**64 - 1


def derive(secret: bytes, usage: int, kind: int, bits: int) -> bytes:
    """KDF-HMAC-SHA2 of RFC 8009, section 3: the first `bits` of one HMAC-SHA-384 block."""
    label = struct.pack(">IIBBI", 1, usage, kind, 0, bits)
    return hmac.digest(secret, label, "sha384")[: bits // 8]


class CryptoKey:
    """A key, with what it can do. Its text and its repr never show the secret. Immutable.

    Raises UsageError for a type that does not exist, or a secret that is too short for it.
    """

    __slots__ = ("_cipher", "_usages", "created_ns", "secret", "type")

    def __init__(self, type: KeyType, secret: bytes, created_ns: int = 0) -> None:
        try:
            self.type = KeyType(type)
        except ValueError:
            raise UsageError(f"key type {type} is unknown; 1 (aes) and 2 (aes256k) are known") from None
        if len(secret) < SECRET_BYTES[self.type]:
            raise UsageError(f"a secret of {len(secret)} bytes is too short for type {self.type.name.lower()}")
        self.secret = secret
        self.created_ns = created_ns
        """Informative only; in nanoseconds since the epoch."""
        self._cipher = Cipher(AES(secret[:_BLOCK]), CBC(_AES_IV)) if self.type == KeyType.AES else None
        self._usages: dict[int, tuple[AES, bytes]] = {}

    @staticmethod
    def generate(type: KeyType, random_bytes: RandomBytes, created_ns: int = 0) -> CryptoKey:
        """A new key."""
        return CryptoKey(type, random_bytes(SECRET_BYTES[type]), created_ns)

    @staticmethod
    def parse(text: str) -> CryptoKey:
        """The base64 form of keyrings. Raises UsageError, which does not show the text."""
        try:
            data = base64.b64decode("".join(text.split()), validate=True)
            decoder = Decoder(data)
            key = decode_key(decoder)
        except (ValueError, PeerError) as error:
            raise UsageError(f"it is no key in base64: {error}") from None
        if decoder.remaining or key.type == KeyType.NONE:
            raise UsageError("it is no key in base64: of type none, or bytes left over behind the secret")
        return key

    def to_base64(self) -> str:
        """The text form of keyrings: this does show the secret."""
        return base64.b64encode(KEY.pack(self)).decode("ascii")

    def __repr__(self) -> str:
        return f"CryptoKey({self.type.name.lower()}, secret hidden)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CryptoKey):
            return NotImplemented
        return self.type == other.type and hmac.compare_digest(self.secret, other.secret)

    def __hash__(self) -> int:
        return hash((self.type, self.secret))

    def encrypt(self, plain: bytes, usage: int, random_bytes: RandomBytes) -> bytes:
        """`plain` under this key; random bytes are only used by aes256k."""
        if self.type == KeyType.AES256K:
            cipher, mac_key = self._derived(usage)
            sealed = _cts_encrypt(cipher, random_bytes(_BLOCK) + plain)
            return sealed + hmac.digest(mac_key, _ZERO_IV + sealed, "sha384")[:_MAC_BYTES]
        if self._cipher is None:
            return plain
        padding = _BLOCK - len(plain) % _BLOCK
        encryptor = self._cipher.encryptor()
        return encryptor.update(plain + bytes((padding,)) * padding) + encryptor.finalize()

    def decrypt(self, data: bytes, usage: int) -> bytes:
        """The reverse. Raises PeerError for what this key can't have made; with aes, only for a wrong length."""
        if self.type == KeyType.AES256K:
            cipher, mac_key = self._derived(usage)
            sealed, mac = data[:-_MAC_BYTES], data[-_MAC_BYTES:]
            if len(sealed) < _BLOCK:
                raise PeerError(f"{len(data)} bytes are too few for an aes256k message")
            if not hmac.compare_digest(hmac.digest(mac_key, _ZERO_IV + sealed, "sha384")[:_MAC_BYTES], mac):
                raise PeerError("the MAC of an aes256k message is wrong")
            return _cts_decrypt(cipher, sealed)[_BLOCK:]
        if self._cipher is None:
            return data
        if not data or len(data) % _BLOCK:
            raise PeerError(f"an aes message of {len(data)} bytes is no whole number of blocks")
        decryptor = self._cipher.decryptor()
        plain = decryptor.update(data) + decryptor.finalize()
        # Real peers do not look at the padding's other bytes: a wrong key shows in the envelope.
        return plain[: len(plain) - min(plain[-1], _BLOCK)]

    def seal(self, plain: bytes, usage: Usage, random_bytes: RandomBytes) -> bytes:
        """`plain` in the envelope whose magic tells the receiver that it has the right key."""
        return self.encrypt(_ENVELOPE + plain, usage, random_bytes)

    def unseal(self, data: Buffer, usage: Usage) -> bytes:
        """What is in the envelope. Raises PeerError if it was not sealed with this key."""
        plain = self.decrypt(bytes(data), usage)
        # The version byte is not compared: it says what follows, not who sealed it.
        if len(plain) < len(_ENVELOPE) or not hmac.compare_digest(plain[1 : len(_ENVELOPE)], _ENVELOPE[1:]):
            raise PeerError("a sealed message does not open: it was made with another key")
        return plain[len(_ENVELOPE) :]

    def proof(self, server_challenge: int, client_challenge: int) -> int:
        """The 64 bits which show the monitor that a client has this key."""
        challenges = struct.pack("<QQ", server_challenge & _MASK, client_challenge & _MASK)
        if self.type in (KeyType.NONE, KeyType.AES):
            sealed = self.encrypt(_ENVELOPE + challenges, 0, bytes)
            # The length prefix takes part, and pushes the last four bytes out.
            digest = len(sealed).to_bytes(4, "little") + sealed
        else:
            digest = hmac.digest(self.secret, challenges, "sha256")
        result = 0
        for (word,) in struct.iter_unpack("<Q", digest[: len(digest) // 8 * 8]):
            result ^= word
        return result

    def _derived(self, usage: int) -> tuple[AES, bytes]:
        found = self._usages.get(usage)
        if found is None:
            cipher = AES(derive(self.secret, usage, _CIPHER_KEY, 256))
            found = self._usages[usage] = (cipher, derive(self.secret, usage, _MAC_KEY, 192))
        return found


def _cts_encrypt(cipher: AES, plain: bytes) -> bytes:
    """AES-CBC-CS3, zero IV: the last two blocks change places and the output is as long as the input (>= 16)."""
    blocks = -(-len(plain) // _BLOCK)
    encryptor = Cipher(cipher, CBC(_ZERO_IV)).encryptor()
    data = encryptor.update(plain.ljust(blocks * _BLOCK, b"\0")) + encryptor.finalize()
    if blocks == 1:
        return data
    head, last_but_one, last = data[: -2 * _BLOCK], data[-2 * _BLOCK : -_BLOCK], data[-_BLOCK:]
    return (head + last + last_but_one)[: len(plain)]


def _cts_decrypt(cipher: AES, data: bytes) -> bytes:
    blocks = -(-len(data) // _BLOCK)
    if blocks > 1:
        tail = len(data) - (blocks - 1) * _BLOCK
        start = len(data) - tail - _BLOCK
        last, stolen = data[start : start + _BLOCK], data[start + _BLOCK :]
        # The zeros that padded the last block give back what was cut from the block before it.
        ecb = Cipher(cipher, ECB()).decryptor()  # noqa: S305 - one block, as ciphertext stealing wants it
        missing = (ecb.update(last) + ecb.finalize())[tail:]
        plain_input = data[:start] + stolen + missing + last
    else:
        plain_input = data
    decryptor = Cipher(cipher, CBC(_ZERO_IV)).decryptor()
    return (decryptor.update(plain_input) + decryptor.finalize())[: len(data)]


def encode_key(encoder: Encoder, key: CryptoKey) -> None:
    """CryptoKey."""
    encoder.u16(key.type)
    encoder.utime(key.created_ns)
    encoder.u16(len(key.secret))
    encoder.raw(key.secret)


def decode_key(decoder: Decoder) -> CryptoKey:
    """CryptoKey. Raises PeerError, also for a type that we do not know."""
    kind, created_ns = decoder.u16(), decoder.utime()
    secret = decoder.raw(decoder.u16())
    try:
        return CryptoKey(KeyType(kind), secret, created_ns)
    except ValueError:
        raise PeerError(f"a key has type {kind}; 1 (aes) and 2 (aes256k) are known") from None
    except UsageError as error:
        raise PeerError(str(error)) from None


KEY: Codec[CryptoKey] = Codec(encode_key, decode_key)
NO_KEY: Final = CryptoKey(KeyType.NONE, b"")
"""What stands where there is no key, e.g. no pending one."""
