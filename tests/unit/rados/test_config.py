"""Config: levels, reading, single options; conf_get and conf_set of a client."""

from __future__ import annotations

import asyncio
import base64
import struct
from pathlib import Path

import pytest

from cove.messenger import LoopbackNetwork
from cove.rados import Config, InvalidArgument, LoopbackTransport, ObjectNotFound, Rados, RadosConf, TimedOut
from cove.rados.cephconf import load_conf
from cove.rados.conf import RUNTIME_OPTIONS
from cove.rados.config_options import OPTIONS, checked, is_option
from cove.wire.messages import MConfig

from .fake import eventually, running_cluster

KEY = base64.b64encode(struct.pack("<HIIH", 1, 0, 0, 16) + bytes(range(16))).decode()


def conf_file(directory: Path, text: str, name: str = "ceph.conf") -> Path:
    path = directory / name
    path.write_text(text)
    return path


def test_levels_do_not_depend_on_the_order_of_calls(tmp_path: Path) -> None:
    environ = {"CEPH_ARGS": "--rados-mon-op-timeout 7 --log-file=/e", "HOME": str(tmp_path)}
    config = Config("client.me", environ=environ)
    config.set("rados_osd_op_timeout", "5")
    config.parse_environment()
    path = conf_file(
        tmp_path,
        "[global]\nrados osd op timeout = 9\nrados mon op timeout = 9\nlog file = /f\nmon host = 1.2.3.4\n"
        "[client.me]\nclient mount timeout = 3\n[client.you]\nclient mount timeout = 4\n",
    )
    config.read_file(path)
    options = ("rados_osd_op_timeout", "rados_mon_op_timeout", "client_mount_timeout", "log_file", "mon_host")
    assert [config.get(option) for option in options] == ["5", "7", "3", "/e", "1.2.3.4"]
    assert config.parse_arguments(["--log-file", "/c", "pool", "ls"]) == ["pool", "ls"]
    assert config.get("log file") == "/c"
    conf = config.cluster_conf()
    assert (conf.name, conf.rados_osd_op_timeout_s, conf.mon_addresses) == ("client.me", 5.0, ("v2:1.2.3.4:3300/0",))
    # another file takes the place of the first
    config.read_file(conf_file(tmp_path, "mon host = 1.2.3.5", "other.conf"))
    assert (config.get("mon_host"), config.get("client_mount_timeout")) == ("1.2.3.5", "30")


def test_defaults_unknown_options_and_values(tmp_path: Path) -> None:
    config = Config(environ={"CEPH_KEYRING": "/k/$name"})
    assert config.get("keyring") == "/k/client.admin"
    assert config.get("osd_client_op_priority") == "63"
    assert (config.get("rbd_cache"), config.is_set("rbd_cache")) == (None, False)
    config.set("rbd cache", "false")
    assert (config.get("rbd_cache"), config.is_set("rbd-cache")) == ("false", True)
    for option in ("nonsense", "rados_osd_op_timeut", "", "osd_\n", "objecter_nothing"):
        with pytest.raises(ObjectNotFound, match="none of that name"):
            config.set(option, "1")
    for option, value in (("client_mount_timeout", "soon"), ("fsid", "7"), ("objecter_inflight_ops", "many")):
        with pytest.raises(InvalidArgument, match=option):
            config.set(option, value)
    with pytest.raises(InvalidArgument, match="texts"):
        config.set("log_file", 5)  # type: ignore[arg-type]
    config.set("log_to_stderr", "YES")
    assert config.get("log_to_stderr") == "true"
    with pytest.raises(ObjectNotFound, match="does not exist"):
        config.read_file(tmp_path / "none")
    with pytest.raises(ObjectNotFound, match=r"no ceph\.conf found"):
        Config(environ={"HOME": str(tmp_path), "CEPH_CONF": ""}, cluster="none-such").read_file()


def test_the_table_of_options() -> None:
    for name, option in OPTIONS.items():
        assert is_option(name)
        assert checked(name, option.default) == option.default
    assert RUNTIME_OPTIONS.keys() <= OPTIONS.keys()
    for name, field in RUNTIME_OPTIONS.items():
        assert float(OPTIONS[name].default) == getattr(RadosConf(), field)


@pytest.mark.parametrize(
    ("words", "rest", "options"),
    [
        (["osd", "pool", "delete", "a", "--yes-i-really-mean-it"], None, {}),
        ([""], None, {}),
        (["-m", "1.1.1.1", "x"], ["x"], {"mon_host": "1.1.1.1"}),
        (["-m1.1.1.1", "-x"], ["-x"], {"mon_host": "1.1.1.1"}),
        (["--keyring=/a b", "y"], ["y"], {"keyring": "/a b"}),
        (["a", "--", "--mon-host", "z"], None, {}),
        (["--debug-ms", "0/1"], [], {"debug_ms": "0/1"}),
    ],
)
def test_command_lines(words: list[str], rest: list[str] | None, options: dict[str, str]) -> None:
    config = Config(environ={})
    assert config.parse_arguments(words) == (words if rest is None else rest)
    for option, value in options.items():
        assert config.get(option) == value
        assert config.is_set(option)


def test_names_and_files_on_a_command_line(tmp_path: Path) -> None:
    path = conf_file(tmp_path, "[client.eve]\nlog file = /eve\n")
    config = Config(environ={})
    assert config.parse_arguments(["--id", "eve", "-c", str(path)]) == []
    assert (config.name, config.get("log_file")) == ("client.eve", "/eve")
    named = Config("client.adam", environ={})
    named.parse_arguments(["--id", "eve"])
    assert named.name == "client.adam"
    with pytest.raises(InvalidArgument, match="needs a value"):
        named.parse_arguments(["--mon-host"])
    with pytest.raises(InvalidArgument, match="no name of an entity"):
        Config("admin", environ={})


def test_secrets_do_not_show(tmp_path: Path) -> None:
    config = Config.load({"mon_host": "1.1.1.1", "key": KEY}, environ={})
    config.set("key", KEY)
    config.parse_arguments(["--key", KEY])
    assert KEY not in repr(config)
    assert KEY not in repr(config._sources)
    assert KEY not in repr(config.cluster_conf())


async def test_a_client_takes_a_config_and_changes_to_it() -> None:
    config = Config("client.x", environ={})
    config.set("mon_host", "127.0.0.1:1")
    config.set("key", KEY)
    client = Rados(config)
    assert client.name == "client.x"
    assert client.conf_get("mon_host") == "127.0.0.1:1"
    client.conf_set("rados_osd_op_timeout", "1.5")
    client.conf_set("client_mount_timeout", "2")
    client.conf_set("rados_mon_op_timeout", "0")
    assert (client.conf.osd_op_timeout_s, client.conf.connect_timeout_s) == (1.5, 2.0)
    assert [client.conf_get(option) for option in RUNTIME_OPTIONS] == ["2", "1.5", "0", "1024", "104857600"]
    client.conf_set("mon_host", "127.0.0.1:2")
    client._refresh_transport()
    assert [monitor.address for monitor in await client.transport.find_monitors()] == ["v2:127.0.0.1:2/0"]
    with pytest.raises(InvalidArgument):
        client.conf_set("client_mount_timeout", "never")
    assert client.conf_get("client_mount_timeout") == "2"


async def test_a_connected_client_changes_at_once() -> None:
    async with running_cluster() as cluster:
        client = cluster.client
        client.conf_set("objecter_inflight_ops", "3")
        client.conf_set("rados_osd_op_timeout", "4")
        assert client.objecter.throttle.ops_max == 3
        assert client.objecter.conf.osd_op_timeout_s == 4
        client.conf_set("mon_client_ping_interval", "1.5")
        assert client.monclient.conf.ping_interval_s == 1.5
        client.monclient.config["debug_rados"] = "9/9"
        assert client.conf_get("debug_rados") == "9/9", "the cluster's configuration goes before the default"
        client.conf_set("debug_rados", "1/1")
        assert client.conf_get("debug_rados") == "1/1"


async def test_the_configuration_database_of_the_cluster_takes_effect() -> None:
    async with running_cluster() as cluster:
        client = cluster.client

        def tell(**config: str) -> None:
            client.monclient._handle_config(MConfig(config=config))

        client.conf_set("rados_mon_op_timeout", "7")
        tell(rados_osd_op_timeout="5", rados_mon_op_timeout="9", objecter_inflight_ops="x")
        assert (client.objecter.conf.osd_op_timeout_s, client.conf.mon_op_timeout_s) == (5, 7)
        assert (client.conf_get("rados_osd_op_timeout"), client.conf.inflight_ops_max) == ("5", 1024)
        tell()
        assert client.objecter.conf.osd_op_timeout_s == 60
    async with running_cluster(conf=RadosConf(osd_op_timeout_s=3)) as cluster:
        cluster.client.monclient._handle_config(MConfig(config={"rados_osd_op_timeout": "5"}))
        assert cluster.client.conf.osd_op_timeout_s == 3, "what the program gives goes before"


def test_a_transport_has_options_too() -> None:
    client = Rados(LoopbackTransport(LoopbackNetwork()), conf=RadosConf(osd_op_timeout_s=2.5))
    assert client.conf_get("rados_osd_op_timeout") == "2.5"
    client.conf_set("rbd_cache", "true")
    assert client.conf_get("rbd_cache") == "true"


def test_the_command_line_goes_before_the_environment_in_any_order() -> None:
    config = Config(environ={"CEPH_ARGS": "--log-file /env --cluster backup", "CEPH_KEYRING": "/k"})
    assert config.parse_arguments(["--log-file", "/argv", "--keyring", "/argv.k"]) == []
    config.parse_environment()
    assert (config.get("log_file"), config.get("keyring")) == ("/argv", "/argv.k")


def test_the_name_of_the_cluster_is_taken_and_expanded(tmp_path: Path) -> None:
    config = Config(environ={"CEPH_ARGS": "--cluster env"})
    config.set("log_file", "/$cluster")
    config.parse_environment()
    assert (config.cluster, config.get("log_file")) == ("env", "/env")
    assert config.parse_arguments(["--cluster", "argv"]) == []
    assert (config.cluster, config.get("log_file")) == ("argv", "/argv")
    given = Config("client.a", "given", environ={})
    given.parse_arguments(["--cluster", "argv"])
    assert given.cluster == "given"


def test_truth_values_on_a_command_line_take_no_word() -> None:
    config = Config(environ={})
    rest = config.parse_arguments(["--log-to-stderr", "pool", "--no-err-to-stderr", "--perf=false", "ls"])
    assert rest == ["pool", "ls"]
    assert [config.get(name) for name in ("log_to_stderr", "err_to_stderr", "perf")] == ["true", "false", "false"]


@pytest.mark.parametrize(
    ("option", "value", "kept"),
    [
        ("rados_osd_op_timeout", "2 hours", 7200),
        ("rados_osd_op_timeout", "1h30m", 5400),
        ("rados_osd_op_timeout", "1 h 30", 3630),
        ("rados_osd_op_timeout", "2d", 172800),
        ("rados_osd_op_timeout", "1.5", 1.5),
        ("rados_osd_op_timeout", "250ms", 0.25),
        ("objecter_inflight_op_bytes", "5K", 5120),
        ("objecter_inflight_ops", "1K", 1000),
    ],
)
def test_values_with_units(option: str, value: str, kept: float) -> None:
    config = Config(environ={})
    config.set(option, value)
    client = Rados(LoopbackTransport(LoopbackNetwork()))
    client.conf_set(option, value)
    assert getattr(client.conf, RUNTIME_OPTIONS[option]) == kept
    assert float(client.conf_get(option) or "") == kept


BAD_VALUES = [
    ("rados_osd_op_timeout", "5 parsecs"),
    ("rados_osd_op_timeout", "-1"),
    ("rados_mon_op_timeout", "1h x"),
    ("client_mount_timeout", "h"),
    ("objecter_inflight_ops", "-5"),
    ("objecter_inflight_ops", "0"),
    ("objecter_inflight_op_bytes", "1.5K"),
    ("mon_client_ping_interval", "0"),
    ("mon_client_ping_interval", "-3"),
    ("mon_client_hunt_parallel", "x"),
    ("objecter_tick_interval", "0"),
    ("mon_host", "10.0.0.1:rubbish"),
    ("auth_client_required", "kerberos"),
    ("ms_client_mode", "open"),
    ("log_to_stderr", "perhaps"),
]


@pytest.mark.parametrize(("option", "value"), BAD_VALUES)
@pytest.mark.parametrize("connected", [False, True])
async def test_a_value_that_is_refused_changes_nothing(option: str, value: str, connected: bool) -> None:
    async with running_cluster() as cluster:
        client = cluster.client if connected else Rados({"mon_host": "127.0.0.1:1", "key": KEY})
        before, conf = client.conf_get(option), client.conf
        with pytest.raises(InvalidArgument, match=option):
            client.conf_set(option, value)
        assert (client.conf_get(option), client.conf) == (before, conf)
        client.conf_set("rados_osd_op_timeout", "5")  # the others can still be set
        assert client.conf.osd_op_timeout_s == 5


def test_a_client_does_not_change_the_config_that_it_was_given() -> None:
    config = Config("client.x", environ={})
    config.set("mon_host", "127.0.0.1:1")
    config.set("key", KEY)
    one, two = Rados(config), Rados(config)
    one.conf_set("log_file", "/one")
    assert (one.conf_get("log_file"), two.conf_get("log_file"), config.get("log_file")) == ("/one", "", "")
    with pytest.raises(InvalidArgument, match=r"client\.y"):
        Rados(config, name="client.y")


async def test_what_is_set_while_connected_counts_at_the_next_connect() -> None:
    client = Rados({"mon_host": "127.0.0.1:1", "key": KEY})
    connecting = asyncio.ensure_future(client.connect(0.2))
    await eventually(lambda: client._messenger is not None)
    client.conf_set("mon_host", "127.0.0.1:2")
    with pytest.raises(TimedOut):
        await connecting
    with pytest.raises(TimedOut, match=r"127\.0\.0\.1:2"):
        await client.connect(0.05)


async def test_a_raised_limit_lets_waiting_operations_in() -> None:
    async with running_cluster() as cluster:
        client = cluster.client
        client.conf_set("objecter_inflight_ops", "1")
        cluster.osds[0].auto = cluster.osds[1].auto = False
        objecter = client.objecter
        operations = [asyncio.ensure_future(cluster.ioctx.read("a", 1)) for _ in range(3)]
        await eventually(lambda: objecter.throttle.waiting == 2)
        client.conf_set("objecter_inflight_ops", "2")
        assert (objecter.throttle.ops, objecter.throttle.waiting) == (2, 1)
        for operation in operations:
            operation.cancel()
        await asyncio.gather(*operations, return_exceptions=True)
        assert (objecter.throttle.ops, objecter.throttle.waiting) == (0, 0)


def test_options_and_their_kinds_stand_in_one_table() -> None:
    conf = load_conf({}, None, {})
    assert (conf.rados_osd_op_timeout_s, conf.rados_mon_op_timeout_s) == (60.0, 30.0)
    assert RadosConf.of_cluster(conf) == RadosConf()
