"""Settings of a client: time-outs in seconds, and the bounds of what may be in flight.

Names follow Ceph's options (rados_osd_op_timeout, objecter_inflight_ops, …); the defaults of the time-outs do not:
Ceph waits for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Self

from .cephconf import ClusterConf
from .config_options import parse_option
from .errors import InvalidArgument

RUNTIME_OPTIONS = {
    "client_mount_timeout": "connect_timeout_s",
    "rados_osd_op_timeout": "osd_op_timeout_s",
    "rados_mon_op_timeout": "mon_op_timeout_s",
    "objecter_inflight_ops": "inflight_ops_max",
    "objecter_inflight_op_bytes": "inflight_bytes_max",
}
"""Ceph's options that are fields of `RadosConf`, and may be changed while a client is connected."""

NEVER_S = 1e9
"""What 0 means for time-outs of Ceph that have to be numbers here: some thirty years."""


@dataclass(frozen=True, slots=True)
class RadosConf:
    """`osd_op_timeout_s` 0 lets operations wait for ever. Raises InvalidArgument for values out of range.

    `tick_interval_s`: how often watches are renewed, and connections that owe answers looked at.
    `crush_location`: where we are, e.g. `host=a1 rack=a`, for reads of the nearest replica; empty: this host's name.
    """

    osd_op_timeout_s: float = 60.0
    mon_op_timeout_s: float = 30.0
    connect_timeout_s: float = 30.0
    inflight_ops_max: int = 1024
    inflight_bytes_max: int = 100 << 20
    waiting_ops_max: int = 65536
    tick_interval_s: float = 5.0
    crush_location: str = ""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "crush_location":
                if not isinstance(value, str):
                    raise InvalidArgument(f"crush_location={value!r}: must be text, e.g. host=a1 rack=a")
                continue
            lowest = 0 if item.name == "osd_op_timeout_s" else 1e-3 if item.name.endswith("_s") else 1
            if not isinstance(value, (int, float)) or value < lowest:
                raise InvalidArgument(f"{item.name}={value!r}: must be a number, at least {lowest}")

    @classmethod
    def of_cluster(cls, conf: ClusterConf) -> Self:
        """The defaults, changed by what a ceph.conf sets."""
        found = cls(
            connect_timeout_s=conf.client_mount_timeout_s or NEVER_S,
            osd_op_timeout_s=conf.rados_osd_op_timeout_s,
            mon_op_timeout_s=conf.rados_mon_op_timeout_s or NEVER_S,
            inflight_ops_max=conf.objecter_inflight_ops,
            inflight_bytes_max=conf.objecter_inflight_op_bytes,
            crush_location=conf.options.get("crush_location", ""),
        )
        if "objecter_tick_interval" in conf.options:
            found = replace(found, tick_interval_s=number_option(conf.options, "objecter_tick_interval"))
        return found


def option_text(conf: RadosConf, option: str) -> str:
    """The value of one of `RUNTIME_OPTIONS` in force, as conf_get gives it: seconds, or a whole number."""
    value = getattr(conf, RUNTIME_OPTIONS[option])
    return "0" if value >= NEVER_S and option.endswith("timeout") else f"{value:.15g}"


def number_option(options: Mapping[str, str], option: str) -> float:
    """The value of an option that is a number. Raises InvalidArgument if it is none, or too small."""
    value = parse_option(option, options[option], f"option {option}")
    assert isinstance(value, (int, float))
    return float(value)
