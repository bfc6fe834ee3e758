# mypy: allow-untyped-calls
from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.rados.conffile import parse_settings
from cove.rados.errors import Error, InvalidArgument, ObjectNotFound, PermissionDenied
from cove.rados.keyring import Keyring, KeyringEntry
from cove.wire.cephx.keys import CryptoKey, KeyType

AES = CryptoKey(KeyType.AES, bytes(range(16)), 1_700_000_000 * 10**9)
AES256K = CryptoKey(KeyType.AES256K, bytes(range(32)))
UNKNOWN = "AwAAAAAAAAAAABAAAAECAwQFBgcICQoLDA0ODw=="

TEXT = f"""\
# made by hand
[client.admin]
\tkey = {AES.to_base64()}
\tauid = 0
\tcaps mds = "allow *"
\tcaps_mon = "allow command \\"osd map\\", allow r"
\tcaps osd = allow rwx pool=rbd   ; not quoted

[client.new.type]
    key = "{AES256K.to_base64()}"
    pending key = {AES.to_base64()}
[global]
    anything = goes
[mon.]
    key={AES.to_base64()}
"""


def test_parse():
    ring = Keyring.parse(TEXT)
    assert list(ring.entries) == ["client.admin", "client.new.type", "mon."]
    assert ring.key_of("client.admin") == AES
    assert ring.key_of("client.admin").created_ns == 1_700_000_000 * 10**9
    assert ring.key_of("client.new.type") == AES256K
    assert ring.entries["client.new.type"].pending_key == AES
    assert ring.entries["client.admin"].caps == {
        "mds": "allow *",
        "mon": 'allow command "osd map", allow r',
        "osd": "allow rwx pool=rbd",
    }


def test_format_comes_back():
    ring = Keyring.parse(TEXT)
    again = Keyring.parse(ring.format())
    assert again.entries == ring.entries
    assert Keyring().format() == ""


@given(st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=30))
def test_any_capability_text_survives(text):
    ring = Keyring(entries={"client.a": KeyringEntry("client.a", AES, {"osd": text.strip()})})
    assert Keyring.parse(ring.format()).entries["client.a"].caps == {"osd": text.strip()}


def test_who_is_not_there():
    with pytest.raises(ObjectNotFound, match=r"no key for client\.b; it has keys for client\.admin, "):
        Keyring.parse(TEXT).key_of("client.b")
    with pytest.raises(ObjectNotFound, match="nobody"):
        Keyring.parse("").key_of("client.b")
    with pytest.raises(ObjectNotFound, match="without a key"):
        Keyring.parse("[client.b]\ncaps mon = x\n").key_of("client.b")


def test_a_key_of_an_unknown_type_harms_only_its_owner():
    ring = Keyring.parse(f"{TEXT}[client.future]\nkey = {UNKNOWN}\n", "keyring 'k'")
    assert ring.key_of("client.admin") == AES
    with pytest.raises(
        InvalidArgument, match=r"keyring 'k', line 17, \[client\.future\], option key: .*type 3"
    ) as caught:
        ring.key_of("client.future")
    assert UNKNOWN not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[client.a]\nkye = x\n", r"line 2, \[client\.a\]: option kye is unknown"),
        ("[admin]\nkey = x\n", "is no entity"),
        ("[client.a\nkey = x\n", "line 1.*no section"),
        ("[client.a]\nAQBVYQJrYcrXCBAAsGd84IaMgqDgU28/z03bGA\n", "line 2: neither"),
        (
            "[client.a]\nAQBVYQJrYcrXCBAAsGd84IaMgqDgU28/z03bGA==\n",
            r"line 2, \[client\.a\]: .* is unknown in a keyring",
        ),
        ("[client.a]\nAQBVYQJrYcrXCBAAsGd84IaMgqDgU28/z03bGA== '\n", "line 2"),
        ("[client.a]\nAQBVYQJrYcrXCBAAsGd84IaMgqDgU28/z03bGA='\n", "line 2"),
        ('[client.a]\nkey = "x\n', "not closed"),
    ],
)
def test_what_is_malformed_is_named(text, words):
    with pytest.raises(InvalidArgument, match=words) as caught:
        Keyring.parse(text)
    assert "AQBV" not in str(caught.value)


def test_files(tmp_path):
    path = tmp_path / "ring"
    path.write_text(TEXT)
    assert Keyring.load(path).key_of("client.admin") == AES
    with pytest.raises(ObjectNotFound, match="does not exist"):
        Keyring.load(tmp_path / "none")
    with pytest.raises(ObjectNotFound, match="does not exist"):
        Keyring.load(path / "none")
    with pytest.raises(InvalidArgument, match="can't be read"):
        Keyring.load(tmp_path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidArgument, match="UTF-8"):
        Keyring.load(path)
    if os.geteuid():
        path.chmod(0)
        with pytest.raises(PermissionDenied):
            Keyring.load(path)


@given(st.text(max_size=80) | st.text(st.sampled_from("[]=\"'\\\n#; ak.c"), max_size=60))
def test_any_text_gives_a_keyring_or_an_error(text):
    try:
        Keyring.parse(text)
    except Error:
        pass


def test_settings_do_not_show_their_values():
    assert AES.to_base64() not in repr(parse_settings(Keyring(entries={"a.b": KeyringEntry("a.b", AES)}).format(), "f"))
