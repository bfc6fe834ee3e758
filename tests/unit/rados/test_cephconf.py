# mypy: allow-untyped-calls
from __future__ import annotations

import asyncio
import os
import socket
import tracemalloc
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.rados.cephconf import load_conf
from cove.rados.confargs import parse_arguments
from cove.rados.conffile import parse_settings
from cove.rados.errors import Error, InvalidArgument, ObjectNotFound, PermissionDenied
from cove.rados.keyring import Keyring, KeyringEntry
from cove.rados.monhosts import MonHost, parse_mon_host
from cove.rados.transport import CephTransport
from cove.wire.address import EntityAddr
from cove.wire.auth import AuthMethod, ConnectionMode
from cove.wire.cephx.keys import CryptoKey, KeyType

KEY = CryptoKey(KeyType.AES, bytes(range(16)))
OTHER = CryptoKey(KeyType.AES, bytes(range(1, 17)))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A directory to be in, without any configuration of this machine."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def options(text, name="client.admin", environ=None, *, home):
    """Options of a file with that text."""
    return load_conf(write(home / "ceph.conf", f"mon host = 1.1.1.1\n{text}"), name, environ or {}).options


# -- the grammar, as `ceph-conf --lookup` takes it


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        (" a one = plain  value  ; comment", "a_one", "plain  value"),
        ("a-one=1", "a_one", "1"),
        ("a_one\t=\t1", "a_one", "1"),
        ("a   one = 1", "a_one", "1"),
        ("c = 'sin \"q\"'", "c", 'sin "q"'),
        (r"d = esc\;aped \# \\ x\n", "d", r"esc;aped # \ xn"),
        ("e = line \\\n   continued", "e", "line    continued"),
        (r'g = "esc \" q"', "g", 'esc " q'),
        ('g = "a; b # c" # d', "g", "a; b # c"),
        ("h=nospace#c", "h", "nospace"),
        ("i =", "i", ""),
        ('i = ""', "i", ""),
        ('j = a"b"c', "j", 'a"b"c'),
        ('k = " spaced "', "k", "spaced"),
        ("l==1", "l", "=1"),
        ("m = 1\r", "m", "1"),
        ("key = AQ==", "key", "AQ=="),
        ("m = [v2:1.2.3.4:3300/0,v1:1.2.3.4:6789/0]", "m", "[v2:1.2.3.4:3300/0,v1:1.2.3.4:6789/0]"),
    ],
)
def test_lines(line, name, value):
    (setting,) = parse_settings(f"# first\n[global] ; x\n{line}\n", "f")
    assert (setting.section, setting.name, setting.value, setting.line) == ("global", name, value, 3)


def test_comments_are_not_continued():
    text = "# c \\\na = 1 ; d \\\nb = 2 \\\n  x\n; \\"
    assert [(s.name, s.value, s.line) for s in parse_settings(text, "f")] == [
        ("a", "1", 2),
        ("b", "2   x", 3),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("noequals\n", "f, line 1: neither"),
        (" = 1\n", "line 1: neither"),
        ("\n[]\n", "line 2.*no section"),
        ("[a] b\n", "line 1.*no section"),
        ("\na b = 'x\n", "line 2, option a_b: the quote ' is not closed"),
        ('a = "x" y\n', "line 1, option a: text follows"),
    ],
)
def test_what_is_malformed_is_named(text, words):
    with pytest.raises(InvalidArgument, match=words):
        parse_settings(text, "f")


@given(st.text(max_size=80) | st.text(st.sampled_from("[]=\"'\\\n\r#; abc"), max_size=60))
def test_any_text_gives_settings_or_an_error(text):
    try:
        for setting in parse_settings(text, "f"):
            assert setting.name
    except Error:
        pass


def test_long_continued_lines_take_linear_time():
    text = "a = " + "x\\\n" * 200_000
    (setting,) = parse_settings(text, "f")
    assert setting.value == "x" * 200_000


# -- which options are in force


def test_precedence(home):
    text = """
    [client.admin]
    a = from admin
    [client]
    a = from client
    b = from client
    [global]
    a = from global
    b = from global
    c = first
    c = last
    [client.other]
    a = from other
    [osd]
    d = from osd
    """
    found = options(text, home=home)
    assert [found.get(name) for name in "abcd"] == ["from admin", "from client", "last", None]
    assert options(text, "client.other", home=home)["a"] == "from other"
    assert options(text, "client.third", home=home)["a"] == "from client"
    assert options(text, "osd.1", home=home)["d"] == "from osd"
    found = options(text, environ={"CEPH_ARGS": "--a=args -k ring --b x"}, home=home)
    assert (found["a"], found["b"], found["keyring"]) == ("args", "x", "ring")


def test_metavariables(home):
    text = """
    o = $name-$id-${type}x$cluster.$nope $host $num $$ $ ${unclosed $home $pid
    loop = $pool
    pool = <$loop>
    admin socket = $run_dir/$name.asok
    p = ${o}!
    """
    found = options(text, environ={"HOME": "/h"}, home=home)
    host = socket.gethostname().partition(".")[0]
    expected = f"client.admin-admin-clientxceph.$nope {host} admin $$ $ ${{unclosed /h {os.getpid()}"
    assert found["o"] == expected
    assert found["p"] == f"{expected}!"
    assert found["loop"] == "<$loop>"
    assert found["admin_socket"] == "/var/run/ceph/client.admin.asok"


def test_expansion_ends(home):
    names = [f"v{number}" for number in range(30)]
    text = "\n".join(f"{name} = ${after}${after}" for name, after in pairwise(names))
    with pytest.raises(InvalidArgument, match="variables"):
        options(text + "\nv29 =", home=home)


def test_expansion_is_bounded(home):
    conf = write(home / "ceph.conf", f"mon host = 1.1.1.1\nx = {'y' * 10**6}\nz = {'$x ' * 900}")
    tracemalloc.start()
    with pytest.raises(InvalidArgument, match="longer than"):
        load_conf(conf, None, {})
    assert tracemalloc.get_traced_memory()[1] < 40 << 20
    tracemalloc.stop()


def test_typed_options(home):
    text = """
    fsid = 2f1c5a8e-8f33-4b0f-9d4d-2f2f7f0d6a11
    auth client required = cephx
    ms_client_mode = secure
    ms mon client mode = crc secure
    client_mount_timeout = 5
    rados_osd_op_timeout = 2.5
    rados-mon-op-timeout = 1m
    objecter_inflight_ops = 7
    objecter_inflight_op_bytes = 10_Mi
    """
    conf = load_conf(write(home / "ceph.conf", f"mon host = 1.1.1.1\n{text}"), None, {})
    assert conf.fsid == UUID("2f1c5a8e-8f33-4b0f-9d4d-2f2f7f0d6a11")
    assert conf.auth_client_required == (AuthMethod.CEPHX,)
    assert conf.ms_client_mode == (ConnectionMode.SECURE,)
    assert conf.ms_mon_client_mode == (ConnectionMode.CRC, ConnectionMode.SECURE)
    assert (conf.client_mount_timeout_s, conf.rados_osd_op_timeout_s, conf.rados_mon_op_timeout_s) == (5.0, 2.5, 60.0)
    assert (conf.objecter_inflight_ops, conf.objecter_inflight_op_bytes) == (7, 10 << 20)


def test_defaults():
    conf = load_conf({"mon host": "10.0.0.1"})
    assert (conf.name, conf.cluster, conf.fsid) == ("client.admin", "ceph", None)
    assert conf.mon_addresses == ("v2:10.0.0.1:3300/0",)
    assert conf.auth_client_required == (AuthMethod.CEPHX, AuthMethod.NONE)
    assert conf.ms_client_mode == (ConnectionMode.CRC, ConnectionMode.SECURE)
    assert conf.ms_mon_client_mode == (ConnectionMode.SECURE, ConnectionMode.CRC)
    assert (conf.client_mount_timeout_s, conf.rados_osd_op_timeout_s) == (30.0, 60.0)
    assert (conf.objecter_inflight_ops, conf.objecter_inflight_op_bytes) == (1024, 100 << 20)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("fsid", "x"),
        ("auth_client_required", "cephx, magic"),
        ("auth_client_required", "gss"),
        ("ms_client_mode", "fast"),
        ("ms_client_mode", ""),
        ("client_mount_timeout", "soon"),
        ("client_mount_timeout", "-1"),
        ("rados_osd_op_timeout", "1 fortnight"),
        ("objecter_inflight_ops", "0"),
        ("objecter_inflight_op_bytes", "1e3"),
        ("mon_host", "[v2:1.1.1.1"),
    ],
)
def test_wrong_values_are_named(option, value, home):
    with pytest.raises(InvalidArgument, match=rf"the options given, option {option}: "):
        load_conf({"mon_host": "1.1.1.1", option: value})
    path = write(home / "ceph.conf", f"[client]\nmon host = 1.1.1.1\n{option} = {value}\n")
    with pytest.raises(InvalidArgument, match=rf"ceph.conf, line 3, \[client\], option {option}: "):
        load_conf(path, None, {})


def test_names(home):
    with pytest.raises(InvalidArgument, match=r"client\.admin"):
        load_conf({"mon_host": "1.1.1.1"}, "admin")
    path = write(home / "x.conf", "mon host = 1.1.1.1")
    assert load_conf(path, None, {"CEPH_ARGS": "--id bob"}).name == "client.bob"
    assert load_conf(path, None, {"CEPH_ARGS": "-n client.eve"}).name == "client.eve"
    assert load_conf(path, "client.me", {"CEPH_ARGS": "-n client.eve"}).name == "client.me"
    assert load_conf(path, None, {}).cluster == "x"


# -- which file


def test_search(home):
    environ = {"HOME": str(home / "h")}
    nothing = load_conf(None, None, environ)
    assert nothing.mon_hosts == ()
    assert nothing.source.endswith("/h/.ceph/ceph.conf, ceph.conf)")
    write(home / "ceph.conf", "mon host = 1.0.0.1")
    assert load_conf(None, None, environ).mon_addresses == ("v2:1.0.0.1:3300/0",)
    write(home / "h/.ceph/ceph.conf", "mon host = 1.0.0.2")
    assert load_conf(None, None, environ).mon_addresses == ("v2:1.0.0.2:3300/0",)
    write(home / "two.conf", "mon host = 1.0.0.3")
    environ["CEPH_CONF"] = f"{home}/none.conf,{home}/two.conf"
    assert load_conf(None, None, environ).mon_addresses == ("v2:1.0.0.3:3300/0",)
    write(home / "three.conf", "mon host = 1.0.0.4")
    environ["CEPH_ARGS"] = f"-c {home}/three.conf --cluster other"
    conf = load_conf(None, None, environ)
    assert (conf.mon_addresses, conf.cluster) == (("v2:1.0.0.4:3300/0",), "other")
    assert load_conf(home / "two.conf", None, environ).mon_addresses == ("v2:1.0.0.3:3300/0",)
    environ["CEPH_ARGS"] += " -m 1.0.0.5:3301"
    assert load_conf(home / "two.conf", None, environ).mon_addresses == ("v2:1.0.0.5:3301/0",)


def test_a_file_that_was_named_must_be_there(home):
    for attempt in (
        lambda: load_conf(home / "none.conf", None, {}),
        lambda: load_conf(None, None, {"CEPH_CONF": str(home / "none.conf")}),
        lambda: load_conf(None, None, {"CEPH_ARGS": f"--conf {home / 'none.conf'}"}),
    ):
        with pytest.raises(ObjectNotFound, match=r"none\.conf' does not exist"):
            attempt()


def test_monitors_without_a_file(home):
    conf = load_conf(None, None, {"HOME": "/nowhere", "CEPH_ARGS": "--mon-host=1.2.3.4 --key " + KEY.to_base64()})
    assert conf.mon_addresses == ("v2:1.2.3.4:3300/0",)
    assert conf.load_key() == KEY


def test_options_from_a_program_stand_alone(home, monkeypatch):
    monkeypatch.setenv("CEPH_ARGS", "-m 9.9.9.9 --id x")
    conf = load_conf({"mon-host": ["1.2.3.4", "1.2.3.5"], "key": KEY.to_base64(), "keyring": None})
    assert conf.mon_addresses == ("v2:1.2.3.4:3300/0", "v2:1.2.3.5:3300/0")
    assert (conf.name, conf.load_key()) == ("client.admin", KEY)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("--foo-bar=x --a_b y", {"foo_bar": "x", "a_b": "y"}),
        ("-m1.2.3.4 -k ring", {"mon_host": "1.2.3.4", "keyring": "ring"}),
        ("-K file --key k=", {"keyfile": "file", "key": "k="}),
        ("--no-mon-config --x --y 1", {"no_mon_config": "true", "x": "true", "y": "1"}),
        ("--a 1 --a 2", {"a": "2"}),
        ("--a= --b 1", {"a": "", "b": "1"}),
        ("--a 1 -- junk", {"a": "1"}),
    ],
)
def test_arguments(text, expected):
    assert parse_arguments(text).options == expected


@pytest.mark.parametrize("text", ["junk", "--a b junk", "-n", "--keyring --x", "--", "--=1"])
def test_malformed_arguments(text):
    if text == "--":
        assert parse_arguments(text).options == {}
        return
    with pytest.raises(InvalidArgument, match="CEPH_ARGS"):
        parse_arguments(text)


def test_arguments_do_not_show_a_key():
    for text in ("--key= AQBsecret==", "--key AQBsecret== AQBsecret==", "-AQBsecret== x y"):
        with pytest.raises(InvalidArgument, match="CEPH_ARGS") as caught:
            parse_arguments(text)
        assert "AQBsecret" not in str(caught.value)
    assert "AQBsecret" not in repr(parse_arguments("--key AQBsecret=="))


# -- keys


def test_a_keyring_that_is_not_readable_is_passed_over_as_ceph_does(home, monkeypatch):
    ring = write(home / "ring", Keyring(entries={"client.admin": KeyringEntry("client.admin", KEY)}).format())
    hidden = write(home / "hidden", Keyring(entries={"client.admin": KeyringEntry("client.admin", OTHER)}).format())
    real_open = open

    def opened(path, *args, **kwargs):
        if str(path) == str(hidden):
            raise PermissionError(13, "denied")
        return real_open(path, *args, **kwargs)

    monkeypatch.setattr("builtins.open", opened)
    base = {"mon_host": "1.1.1.1", "auth_client_required": "cephx"}
    assert load_conf({**base, "keyring": f"{hidden},{ring}"}).load_key() == KEY
    with pytest.raises(PermissionDenied, match=r"hidden.*not readable"):
        load_conf({**base, "keyring": f"{hidden},{home}/none"}).credentials()
    # nor does it fall back to authentication without a key
    with pytest.raises(PermissionDenied, match=r"hidden.*not readable"):
        load_conf({"mon_host": "1.1.1.1", "keyring": f"{hidden}"}).credentials()


@pytest.mark.parametrize(
    ("conf", "args", "explicit", "words"),
    [
        ("[client]\nkey = nonsense", "", None, r"ceph\.conf, line 3, \[client\], option key: it is no key"),
        ("", "--key nonsense", None, "CEPH_ARGS, option key: it is no key"),
        ("", "", "nonsense", "the arguments given, option key: it is no key"),
    ],
)
def test_a_wrong_key_is_named_by_its_place(home, conf, args, explicit, words):
    path = write(home / "ceph.conf", f"mon host = 1.1.1.1\n{conf}")
    with pytest.raises(InvalidArgument, match=words) as caught:
        load_conf(path, None, {"CEPH_ARGS": args}, key=explicit).load_key()
    assert "nonsense" not in str(caught.value)


def test_key_comes_before_keyfile_before_keyring(home):
    ring = write(home / "ring", Keyring(entries={"client.admin": KeyringEntry("client.admin", KEY)}).format())
    file = write(home / "file", OTHER.to_base64() + "\n")
    base = {"mon_host": "1.1.1.1", "keyring": f"{home}/none, {ring}"}
    assert load_conf(base).load_key() == KEY
    assert load_conf({**base, "keyfile": file}).load_key() == OTHER
    assert load_conf({**base, "keyfile": file, "key": KEY.to_base64()}).load_key() == KEY
    assert load_conf({**base, "key": OTHER.to_base64()}, keyring=ring).load_key() == KEY
    assert load_conf(base, key=OTHER.to_base64()).load_key() == OTHER
    with pytest.raises(InvalidArgument, match="option key: it is no key"):
        load_conf({**base, "key": "nonsense"}).load_key()
    with pytest.raises(ObjectNotFound, match="keyfile"):
        load_conf({**base, "keyfile": home / "none"}).load_key()
    with pytest.raises(ObjectNotFound, match=r"no key for client\.b"):
        load_conf(base, "client.b").load_key()


def test_keyring_of_the_environment(home):
    conf = write(home / "ceph.conf", "mon host = 1.1.1.1\nkeyring = a")
    assert load_conf(conf, None, {}).keyring_paths == ("a",)
    assert load_conf(conf, None, {"CEPH_KEYRING": "b,c"}).keyring_paths == ("b", "c")
    assert load_conf(conf, None, {"CEPH_KEYRING": "b", "CEPH_ARGS": "-k d"}).keyring_paths == ("d",)


def test_default_keyrings():
    conf = load_conf({"mon_host": "1.1.1.1"}, "client.x")
    assert conf.keyring_paths == (
        "/etc/ceph/ceph.client.x.keyring",
        "/etc/ceph/ceph.keyring",
        "/etc/ceph/keyring",
        "/etc/ceph/keyring.bin",
    )
    assert load_conf({"mon_host": "1.1.1.1"}, "osd.3").keyring_paths == ("/var/lib/ceph/osd/ceph-3/keyring",)


def test_no_keyring_at_all(home):
    conf = load_conf({"mon_host": "1.1.1.1", "keyring": f"{home}/a,{home}/b", "auth_client_required": "cephx"})
    with pytest.raises(ObjectNotFound, match=r"no keyring found for client\.admin \(tried .*/a, .*/b\)") as caught:
        conf.credentials()
    assert caught.value.errno == 2
    conf = load_conf({"mon_host": "1.1.1.1", "keyring": f"{home}/a"})
    assert conf.credentials() == ((AuthMethod.NONE,), None)
    conf = load_conf({"mon_host": "1.1.1.1", "auth_client_required": "none"})
    assert conf.credentials() == ((AuthMethod.NONE,), None)
    conf = load_conf({"mon_host": "1.1.1.1", "key": KEY.to_base64()})
    assert conf.credentials() == ((AuthMethod.CEPHX, AuthMethod.NONE), KEY)


def test_a_configuration_does_not_show_its_key():
    conf = load_conf({"mon_host": "1.1.1.1", "key": KEY.to_base64()})
    assert KEY.to_base64() not in repr(conf)


# -- monitors


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1", ["v2:10.0.0.1:3300/0"]),
        ("10.0.0.1:3301", ["v2:10.0.0.1:3301/0"]),
        ("v2:10.0.0.1:3301/7", ["v2:10.0.0.1:3301/7"]),
        ("v2:10.0.0.1", ["v2:10.0.0.1:3300/0"]),
        ("any:10.0.0.1:3300", ["v2:10.0.0.1:3300/0"]),
        ("[v2:10.0.0.1:3300/0,v1:10.0.0.1:6789/0]", ["v2:10.0.0.1:3300/0"]),
        ("[v1:10.0.0.1:6789/0,v2:10.0.0.1:3300/0]", ["v2:10.0.0.1:3300/0"]),
        ("[v2:10.0.0.1:3300/0],[v2:10.0.0.2:3300/0]", ["v2:10.0.0.1:3300/0", "v2:10.0.0.2:3300/0"]),
        ("10.0.0.1, 10.0.0.2;10.0.0.3\t10.0.0.4,", [f"v2:10.0.0.{number}:3300/0" for number in (1, 2, 3, 4)]),
        ("10.0.0.1:6789, 10.0.0.2", ["v2:10.0.0.2:3300/0"]),
        ("fd00::1", ["v2:[fd00::1]:3300/0"]),
        ("[fd00::1]", ["v2:[fd00::1]:3300/0"]),
        ("[fd00::1]:3301", ["v2:[fd00::1]:3301/0"]),
        ("[v2:[fd00::1]:3300/0,v1:[fd00::1]:6789/0] 10.0.0.1", ["v2:[fd00::1]:3300/0", "v2:10.0.0.1:3300/0"]),
        ("", []),
    ],
)
def test_forms_of_mon_host(text, expected):
    assert [str(host.address) for host in parse_mon_host(text)] == expected


def test_host_names_are_left_to_the_caller():
    first, second = parse_mon_host("mon-1.example.com v2:mon2:3301")
    assert first == MonHost("mon-1.example.com", None, "mon-1.example.com", 3300)
    assert (second.host, second.port) == ("mon2", 3301)
    assert second.resolved("10.0.0.9") == EntityAddr.of("10.0.0.9", 3301)
    assert load_conf({"mon_host": "mon1"}).mon_addresses == ()


@pytest.mark.parametrize("text", ["10.0.0.1:6789", "v1:10.0.0.1", "[v1:10.0.0.1:6789/0]", "mon1:6789"])
def test_monitors_that_speak_only_the_old_protocol(text):
    with pytest.raises(InvalidArgument, match=r"only the old protocol msgr1.*port 3300"):
        parse_mon_host(text)


@pytest.mark.parametrize(
    "text",
    [
        "[v2:1.1.1.1",
        "1.1.1.1]",
        "1.1.1.1:x",
        "1.1.1.1:70000",
        "1.1.1.1:",
        "1.1.1.1/x",
        "[fd00::1]x",
        "300.1.1.1",
        "a b!c",
        "v2:",
        "a..b",
        "1.1.1.1:٣",
        "fe80::1%eth0",
        "[fe80::1%eth0]:3300",
    ],
)
def test_malformed_monitors(text):
    with pytest.raises(InvalidArgument, match="mon_host: "):
        parse_mon_host(text)


@given(st.text(max_size=40) | st.text(st.sampled_from("[]v12:,;/. a0"), max_size=30))
def test_any_text_gives_monitors_or_an_error(text):
    try:
        parse_mon_host(text)
    except Error:
        pass


def test_monitors_from_their_sections(home):
    text = "[mon.a]\nhost = x\nmon addr = 10.0.0.1\n[mon.b]\nmon_addr = 10.0.0.2:3301\n"
    conf = load_conf(write(home / "ceph.conf", text), None, {})
    assert [(host.name, str(host.address)) for host in conf.mon_hosts] == [
        ("a", "v2:10.0.0.1:3300/0"),
        ("b", "v2:10.0.0.2:3301/0"),
    ]


def test_no_monitors_at_all(home):
    path = write(home / "ceph.conf", "[global]\nfsid = 2f1c5a8e-8f33-4b0f-9d4d-2f2f7f0d6a11\n")
    conf = load_conf(path, None, {})
    assert (conf.mon_hosts, conf.mon_dns_srv_name, conf.source) == ((), "ceph-mon", str(path))
    with pytest.raises(InvalidArgument, match=r"no monitors are known: .*set `mon_host`"):
        asyncio.run(CephTransport(load_conf({"key": KEY.to_base64(), "mon_dns_srv_name": ""})).find_monitors())
