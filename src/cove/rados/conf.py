"""Settings of a client: time-outs in seconds, and the bounds of what may be in flight.

Names follow Ceph's options (rados_osd_op_timeout, objecter_inflight_ops, …); the defaults of the time-outs do not:
Ceph waits for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from .errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class RadosConf:
    """`osd_op_timeout_s` 0 lets operations wait for ever. Raises InvalidArgument for values out of range."""

    osd_op_timeout_s: float = 60.0
    mon_op_timeout_s: float = 30.0
    inflight_ops_max: int = 1024
    inflight_bytes_max: int = 100 << 20
    waiting_ops_max: int = 65536

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            lowest = 0 if item.name == "osd_op_timeout_s" else 1e-3 if item.name.endswith("_s") else 1
            if not isinstance(value, (int, float)) or value < lowest:
                raise InvalidArgument(f"{item.name}={value!r}: must be a number, at least {lowest}")
