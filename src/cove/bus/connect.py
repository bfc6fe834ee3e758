"""From a bus URL to a bus: the one place that knows which kinds there are."""

from __future__ import annotations

from urllib.parse import urlsplit

from cove.bus.base import Bus, UnsupportedBus
from cove.bus.local import LocalBus


def connect(url: str) -> Bus:
    """Make the bus that `url` names; call its `start()` before use.

    `local://` is a new in-process bus: server and agents of one process share the object.
    Raises UnsupportedBus.
    """
    scheme = urlsplit(url).scheme
    if scheme == "local":
        return LocalBus()
    if scheme in {"rabbit", "amqp"}:
        raise UnsupportedBus(f"bus_url: {scheme}:// is not supported yet; use local://")
    raise UnsupportedBus(f"bus_url: unknown kind {scheme!r}; use local://")
