"""cephx: shared keys and tickets, at both ends and without I/O.

`client.py` logs in and shows tickets (attempts: `login.py`); `server.py` and `monitor.py` are the monitor that gives
them, `service.py` is the OSD or manager that takes them. All build on `keys.py`, `structures.py` and `tickets.py`.
"""

from __future__ import annotations

from .client import CLIENT_SERVICES, CRC_FIRST, SECURE_FIRST, CephxClient
from .keys import CryptoKey, KeyType
from .login import MonLogin, ServiceLogin, refusal
from .monitor import MAuthAnswer, MonitorAuth
from .server import CephxServer, CephxSettings, CephxState, Entity
from .service import CephxService, ServiceAuth

__all__ = [
    "CLIENT_SERVICES",
    "CRC_FIRST",
    "SECURE_FIRST",
    "CephxClient",
    "CephxServer",
    "CephxService",
    "CephxSettings",
    "CephxState",
    "CryptoKey",
    "Entity",
    "KeyType",
    "MAuthAnswer",
    "MonLogin",
    "MonitorAuth",
    "ServiceAuth",
    "ServiceLogin",
    "refusal",
]
