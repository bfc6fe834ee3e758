# mypy: allow-untyped-calls
from __future__ import annotations

import base64
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.wire.cephx.keys import KEY, NO_KEY, CryptoKey, KeyType, Usage, derive
from cove.wire.errors import PeerError, UsageError

AES = CryptoKey(KeyType.AES, bytes(range(16)))
AES256K = CryptoKey(KeyType.AES256K, bytes(range(32)))
SERVER_CHALLENGE, CLIENT_CHALLENGE = 0x1122334455667788, 0x99AABBCCDDEEFF00
X = bytes.fromhex("01efcdab8967452301")

# RFC 8009, appendix A: aes256-cts-hmac-sha384-192.
RFC_KEY = bytes.fromhex("6D404D37FAF79F9DF0D33568D320669800EB4836472EA8A026D16B7182460C52")
RFC_ENCRYPTIONS = [
    (
        "",
        "F764E9FA15C276478B2C7D0C4E5F58E4",
        "41F53FA5BFE7026D91FAF9BE959195A0 58707273A96A40F0A01960621AC612748B9BBFBE7EB4CE3C",
    ),
    (
        "000102030405",
        "B80D3251C1F6471494256FFE712D0B9A",
        "4ED7B37C2BCAC8F74F23C1CF07E62BC7B75FB3F637B9 F559C7F664F69EAB7B6092237526EA0D1F61CB20D69D10F2",
    ),
    (
        "000102030405060708090A0B0C0D0E0F",
        "53BF8A0D105265D4E276428624CE5E63",
        "BC47FFEC7998EB91E8115CF8D19DAC4BBBE2E163E87DD37F49BECA92027764F6"
        "8CF51F14D798C2273F35DF574D1F932E40C4FF255B36A266",
    ),
    (
        "000102030405060708090A0B0C0D0E0F1011121314",
        "763E65367E864F02F55153C7E3B58AF1",
        "40013E2DF58E8751957D2878BCD2D6FE101CCFD556CB1EAE79DB3C3EE86429F2B2A602AC86"
        "FEF6ECB647D6295FAE077A1FEB517508D2C16B4192E01F62",
    ),
]


def numbered(length: int) -> bytes:
    return bytes(range(length))


def random_from(seed: int = 0):
    numbers = count(seed)
    return lambda length: bytes(next(numbers) % 256 for _ in range(length))


@pytest.mark.parametrize(
    ("kind", "bits", "expected"),
    [
        (0x99, 192, "EF5718BE86CC84963D8BBB5031E9F5C4BA41F28FAF69E73D"),
        (0xAA, 256, "56AB22BEE63D82D7BC5227F6773F8EA7A5EB1C825160C38312980C442E5C7E49"),
        (0x55, 192, "69B16514E3CD8E56B82010D5C73012B622C4D00FFC23ED1F"),
    ],
)
def test_key_derivation_is_that_of_rfc_8009(kind, bits, expected):
    assert derive(RFC_KEY, 2, kind, bits) == bytes.fromhex(expected)


@pytest.mark.parametrize(("plain", "confounder", "expected"), RFC_ENCRYPTIONS)
def test_encryption_is_that_of_rfc_8009(plain, confounder, expected):
    key = CryptoKey(KeyType.AES256K, RFC_KEY)
    sealed = key.encrypt(bytes.fromhex(plain), 2, lambda _length: bytes.fromhex(confounder))
    assert sealed == bytes.fromhex(expected)
    assert key.decrypt(sealed, 2) == bytes.fromhex(plain)


def test_check_values_of_aes():
    assert AES.proof(SERVER_CHALLENGE, CLIENT_CHALLENGE) == 0x4FADD85010BCAD18
    sealed = AES.seal(X, Usage.AUTHORIZE_CHALLENGE, numbered)
    assert sealed.hex() == "81bb32818d895b983a17e0700a2a7f8729fa16ab9c44ad4b6cf5744035d9e071"


def test_check_values_of_aes256k():
    assert AES256K.proof(SERVER_CHALLENGE, CLIENT_CHALLENGE) == 0x52460FB091FF144A
    sealed = AES256K.seal(X, Usage.AUTHORIZE_CHALLENGE, numbered)
    assert sealed.hex() == (
        "4aac94af2eaa7dabbe4d49a910fc53ca706c82fe48217f5721c3bf9fff5e00e34b62f03c52c58c991404a4c5e3ebc8a3d1ef1a490114f43833a1"
    )


@given(st.sampled_from([AES, AES256K, NO_KEY]), st.binary(max_size=200), st.sampled_from(Usage), st.integers(0, 255))
def test_what_is_sealed_is_unsealed(key, plain, usage, seed):
    sealed = key.seal(plain, usage, random_from(seed))
    assert key.unseal(sealed, usage) == plain
    if key.type == KeyType.AES:
        assert len(sealed) == 16 * ((9 + len(plain)) // 16 + 1)
    if key.type == KeyType.AES256K:
        assert len(sealed) == 49 + len(plain)


@given(st.sampled_from([AES, AES256K]), st.binary(max_size=60), st.binary(min_size=32, max_size=32))
def test_another_key_does_not_open_it(key, plain, secret):
    other = CryptoKey(key.type, secret)
    sealed = key.seal(plain, Usage.AUTHORIZE, numbered)
    if other.secret[:16] != key.secret[:16]:
        with pytest.raises(PeerError):
            other.unseal(sealed, Usage.AUTHORIZE)


def test_aes256k_keys_serve_one_usage_each():
    sealed = AES256K.seal(b"x", Usage.AUTHORIZE, numbered)
    with pytest.raises(PeerError, match="MAC"):
        AES256K.unseal(sealed, Usage.AUTHORIZE_REPLY)


@pytest.mark.parametrize("size", [0, 15, 16, 17, 32, 40])
def test_every_bit_of_an_aes256k_message_counts(size):
    sealed = AES256K.seal(bytes(size), Usage.AUTHORIZE, numbered)
    for at in range(len(sealed)):
        broken = bytearray(sealed)
        broken[at] ^= 0x40
        with pytest.raises(PeerError):
            AES256K.unseal(broken, Usage.AUTHORIZE)


@given(st.sampled_from([AES, AES256K, NO_KEY]), st.binary(max_size=100))
def test_any_bytes_give_a_value_or_a_peer_error(key, data):
    try:
        key.unseal(data, Usage.AUTHORIZE)
    except PeerError:
        pass


@pytest.mark.parametrize("key", [AES, AES256K])
def test_truncated_messages_are_refused(key):
    sealed = key.seal(b"twenty bytes of data", Usage.AUTHORIZE, numbered)
    for length in range(len(sealed) - 1):
        try:
            plain = key.unseal(sealed[:length], Usage.AUTHORIZE)
        except PeerError:
            continue
        # aes has no MAC: a cut at a block's end shows only by what is missing.
        assert key.type == KeyType.AES
        assert plain != b"twenty bytes of data"


def test_secrets_longer_than_the_cipher_needs_are_taken_whole_by_aes256k():
    long = CryptoKey(KeyType.AES256K, bytes(range(48)))
    assert long.proof(1, 2) != AES256K.proof(1, 2)
    with pytest.raises(PeerError):
        long.unseal(AES256K.seal(b"", Usage.AUTHORIZE, numbered), Usage.AUTHORIZE)


@pytest.mark.parametrize(
    ("key", "characters", "prefix"), [(AES, 40, "AQ"), (AES256K, 60, "Ag")], ids=["aes", "aes256k"]
)
def test_text_form(key, characters, prefix):
    text = key.to_base64()
    assert len(text) == characters
    assert text.startswith(prefix)
    assert CryptoKey.parse(f" {text}\n") == key


@pytest.mark.parametrize(
    "text", ["", "!", "AQ", "QUJD", base64.b64encode(KEY.pack(AES) + b"\0").decode(), NO_KEY.to_base64(), "é"]
)
def test_texts_that_are_no_key(text):
    with pytest.raises(UsageError) as caught:
        CryptoKey.parse(text)
    assert not text or len(text) < 3 or text not in str(caught.value)


def test_a_key_of_another_type_is_refused_by_name():
    data = KEY.pack(AES)
    with pytest.raises(PeerError, match="type 3"):
        KEY.unpack(b"\3\0" + data[2:])


@pytest.mark.parametrize("kind", [KeyType.AES, KeyType.AES256K])
def test_short_secrets_are_refused(kind):
    with pytest.raises(UsageError, match="too short"):
        CryptoKey(kind, bytes(15))


def test_a_key_does_not_show_its_secret():
    key = CryptoKey(KeyType.AES, b"0123456789abcdef")
    for text in (repr(key), str(key), f"{key}", repr([key])):
        assert "0123" not in text
        assert key.to_base64() not in text


def test_keys_are_compared_by_type_and_secret():
    assert CryptoKey(KeyType.AES, bytes(32)) == CryptoKey(KeyType.AES, bytes(32), created_ns=5)
    assert CryptoKey(KeyType.AES, bytes(32)) != CryptoKey(KeyType.AES256K, bytes(32))
    assert CryptoKey(KeyType.AES, bytes(16)) != CryptoKey(KeyType.AES, bytes(15) + b"\1")
    assert CryptoKey(KeyType.AES, bytes(16)) != "key"


def test_new_keys_have_the_length_of_their_type():
    assert len(CryptoKey.generate(KeyType.AES, numbered).secret) == 16
    assert len(CryptoKey.generate(KeyType.AES256K, numbered).secret) == 32
