"""The options that a client knows: their defaults and kinds. Others are kept as they are set, and have no effect.

The defaults are Ceph's, but for the time-outs, which are those of `RadosConf`: Ceph's own wait for ever (and 300 s
for a connection).

Source: Ceph's doc/rados/configuration, common/options (names, kinds, defaults).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple
from uuid import UUID

from .errors import InvalidArgument

Value = str | int | float | bool | UUID

_SI: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY: Final = {"": 1, "B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SECONDS: Final = {
    name: seconds
    for names, seconds in (
        ("ms", 1e-3),
        ("s sec second seconds", 1.0),
        ("m min minute minutes", 60.0),
        ("h hr hour hours", 3600.0),
        ("d day days", 86400.0),
        ("w wk week weeks", 7 * 86400.0),
        ("mo month months", 30 * 86400.0),
        ("y yr year years", 365 * 86400.0),
    )
    for name in names.split()
} | {"": 1.0}
_TRUTHS: Final = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)
_SPAN = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([a-z]*)\s*", re.ASCII)


def _matched(pattern: str, text: str) -> re.Match[str]:
    match = re.fullmatch(pattern, text, re.ASCII)
    if match is None:
        raise ValueError
    return match


def _integer(text: str) -> int:
    return int(_matched(r"-?\d{1,18}", text)[0])


def _count(text: str) -> int:
    match = _matched(r"(\d{1,18})\s*([KMGT]?)", text)
    return _at_least_one(int(match[1]) * _SI[match[2]])


def _size(text: str) -> int:
    match = _matched(r"(\d{1,18})\s*_?([KMGTB]?)(?:iB?|B)?", text)
    return _at_least_one(int(match[1]) * _BINARY[match[2]])


def _at_least_one(number: int) -> int:
    if number < 1:
        raise ValueError
    return number


def _positive(text: str) -> float:
    number = float(_matched(r"\d{1,15}(?:\.\d{1,15})?(?:e[+-]?\d{1,2})?", text)[0])
    if number < 1e-3:
        raise ValueError
    return number


def _seconds(text: str) -> float:
    total, at = 0.0, 0
    while at < len(text) or not at:
        match = _SPAN.match(text, at)
        if match is None or match[2] not in _SECONDS:
            raise ValueError
        total += float(match[1]) * _SECONDS[match[2]]
        at = match.end()
    return total


def _truth(text: str) -> bool:
    found = _TRUTHS.get(text.lower())
    if found is None:
        raise ValueError
    return found


class Kind(Enum):
    """What the value of an option is, for messages with an example; `PARSERS` know its forms."""

    TEXT = "text"
    INTEGER = "whole number, e.g. 10"
    COUNT = "number of at least 1, e.g. 1024"
    NUMBER = "number of at least 0.001, e.g. 1.5"
    SECONDS = "time; write seconds, e.g. 30, or 1h30m"
    SIZE = "size; write e.g. 1024 or 100M"
    TRUTH = "truth value; write true or false"
    ID = "UUID"


PARSERS: Final[dict[Kind, Callable[[str], Value]]] = {
    Kind.TEXT: str,
    Kind.INTEGER: _integer,
    Kind.COUNT: _count,
    Kind.NUMBER: _positive,
    Kind.SECONDS: _seconds,
    Kind.SIZE: _size,
    Kind.TRUTH: _truth,
    Kind.ID: lambda text: UUID(_matched(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", text)[0]),
}
"""They raise ValueError."""


class Option(NamedTuple):
    """`default` is text, as conf_get gives it."""

    default: str
    kind: Kind = Kind.TEXT


OPTIONS: Final[dict[str, Option]] = {
    # where the cluster is, and who we are
    "mon_host": Option(""),
    "mon_dns_srv_name": Option("ceph-mon"),
    "fsid": Option(str(UUID(int=0)), Kind.ID),
    "keyring": Option(""),
    "key": Option(""),
    "keyfile": Option(""),
    "run_dir": Option("/var/run/ceph"),
    "auth_supported": Option(""),
    "auth_client_required": Option("cephx, none"),
    "auth_cluster_required": Option("cephx"),
    "auth_service_required": Option("cephx"),
    "ms_client_mode": Option("crc secure"),
    "ms_mon_client_mode": Option("secure crc"),
    # time-outs and limits
    "client_mount_timeout": Option("30", Kind.SECONDS),
    "rados_osd_op_timeout": Option("60", Kind.SECONDS),
    "rados_mon_op_timeout": Option("30", Kind.SECONDS),
    "objecter_inflight_ops": Option("1024", Kind.COUNT),
    "objecter_inflight_op_bytes": Option("104857600", Kind.SIZE),
    "mon_client_ping_interval": Option("10", Kind.NUMBER),
    "mon_client_ping_timeout": Option("30", Kind.NUMBER),
    "mon_client_hunt_interval": Option("3", Kind.NUMBER),
    "mon_client_hunt_interval_backoff": Option("1.5", Kind.NUMBER),
    "mon_client_hunt_interval_max_multiple": Option("10", Kind.NUMBER),
    "mon_client_hunt_parallel": Option("3", Kind.COUNT),
    "objecter_tick_interval": Option("5", Kind.NUMBER),
    # known to every client of librados; without effect here
    "admin_socket": Option(""),
    "client_notify_timeout": Option("10", Kind.INTEGER),
    "debug_ms": Option("0/0"),
    "debug_monc": Option("0/10"),
    "debug_objecter": Option("0/1"),
    "debug_rados": Option("0/5"),
    "debug_rbd": Option("0/5"),
    "log_file": Option(""),
    "log_to_stderr": Option("false", Kind.TRUTH),
    "err_to_stderr": Option("true", Kind.TRUTH),
    "log_flush_on_exit": Option("false", Kind.TRUTH),
    "ms_type": Option("async+posix"),
    "objecter_timeout": Option("10", Kind.NUMBER),
    "osd_client_op_priority": Option("63", Kind.INTEGER),
    "osd_max_object_name_len": Option("2048", Kind.INTEGER),
    "osd_pool_default_size": Option("3", Kind.INTEGER),
    "osd_pool_default_pg_num": Option("32", Kind.INTEGER),
    "perf": Option("true", Kind.TRUTH),
}

_SUBSYSTEMS: Final = (
    "admin_",
    "auth_",
    "bdev_",
    "bluestore_",
    "ceph_",
    "cephx_",
    "client_",
    "clog_",
    "cluster_",
    "crush_",
    "debug_",
    "erasure_",
    "err_",
    "fuse_",
    "heartbeat_",
    "host",
    "immutable_",
    "journal",
    "librados_",
    "log_",
    "mds_",
    "memstore_",
    "mgr_",
    "mon_",
    "monmap",
    "ms_",
    "osd_",
    "perf_",
    "plugin_",
    "public_",
    "rbd_",
    "rgw_",
    "setuser",
    "setgroup",
    "throttler_",
    "xio_",
)
"""How the names of Ceph's other options begin; there are some two thousand of them."""


def is_option(name: str) -> bool:
    """Whether Ceph may have an option of that (normalized) name. All others are typing errors."""
    return name in OPTIONS or (name.startswith(_SUBSYSTEMS) and re.fullmatch(r"[a-z0-9_]{3,100}", name) is not None)


def is_truth(name: str) -> bool:
    """Whether an option is known to be on or off."""
    return name in OPTIONS and OPTIONS[name].kind is Kind.TRUTH


def parse_option(name: str, text: str, place: str) -> Value:
    """The value of an option; `place` says where it stands. Raises InvalidArgument if it does not fit the option."""
    kind = OPTIONS[name].kind if name in OPTIONS else Kind.TEXT
    if kind is Kind.TEXT:
        return text
    try:
        return PARSERS[kind](text.strip())
    except ValueError:
        raise InvalidArgument(f"{place}: {text[:60]!r} is no {kind.value}") from None


def checked(name: str, text: str) -> str:
    """The value in the form in which it is kept. Raises InvalidArgument if it does not fit the option."""
    value = parse_option(name, text, f"option {name}")
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.15g}" if isinstance(value, float) else str(value)
