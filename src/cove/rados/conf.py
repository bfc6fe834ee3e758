"""Settings of a client: time-outs in seconds, and the bounds of what may be in flight.

Names follow Ceph's options (rados_osd_op_timeout, objecter_inflight_ops, …); the defaults of the time-outs do not:
Ceph waits for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import inf, nan
from typing import Self

from .cephconf import ClusterConf
from .errors import InvalidArgument

NEVER_S = 1e9
"""What 0 means for time-outs of Ceph that have to be numbers here: some thirty years."""


@dataclass(frozen=True, slots=True)
class RadosConf:
    """`osd_op_timeout_s` 0 lets operations wait for ever. Raises InvalidArgument for values out of range."""

    osd_op_timeout_s: float = 60.0
    mon_op_timeout_s: float = 30.0
    connect_timeout_s: float = 30.0
    inflight_ops_max: int = 1024
    inflight_bytes_max: int = 100 << 20
    waiting_ops_max: int = 65536

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            lowest = 0 if item.name == "osd_op_timeout_s" else 1e-3 if item.name.endswith("_s") else 1
            if not isinstance(value, (int, float)) or value < lowest:
                raise InvalidArgument(f"{item.name}={value!r}: must be a number, at least {lowest}")

    @classmethod
    def of_cluster(cls, conf: ClusterConf) -> Self:
        """The defaults, changed by what a ceph.conf sets."""
        found = cls(
            connect_timeout_s=conf.client_mount_timeout_s or NEVER_S,
            inflight_ops_max=conf.objecter_inflight_ops,
            inflight_bytes_max=conf.objecter_inflight_op_bytes,
        )
        if conf.rados_osd_op_timeout_s is not None:
            found = replace(found, osd_op_timeout_s=conf.rados_osd_op_timeout_s)
        if conf.rados_mon_op_timeout_s is not None:
            found = replace(found, mon_op_timeout_s=conf.rados_mon_op_timeout_s or NEVER_S)
        return found


def number_option(options: Mapping[str, str], option: str, *, least: float = 1e-3) -> float:
    """The value of an option that is a number. Raises InvalidArgument if it is none, or too small."""
    text = options[option]
    try:
        value = float(text)
    except ValueError:
        value = nan
    if not least <= value < inf:
        raise InvalidArgument(f"{option} = {text!r}: must be a number, at least {least:g}")
    return value
