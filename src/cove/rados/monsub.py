"""Subscriptions: which maps a client wants from its monitor, from which epoch on, and what the monitor knows of it.

A new session knows nothing: everything is told again (`forget_sent`), from the epoch that is wanted by then.

Source: Ceph's mon/MonSub.
"""

from __future__ import annotations

from ..wire.messages import SubscribeFlag, Subscription

CONTINUOUS = SubscribeFlag(0)
"""Every epoch from the start on, without asking again."""


class Subscriptions:
    """What is wanted, by the name of the map: `osdmap`, `monmap`, `config`, `mgrmap`."""

    def __init__(self) -> None:
        self._wanted: dict[str, Subscription] = {}
        self._unsent: set[str] = set()

    def want(self, what: str, start: int, flags: SubscribeFlag = CONTINUOUS) -> bool:
        """Want a map from epoch `start` on (0: the newest). False if just that is wanted already."""
        wanted = Subscription(start, flags)
        if self._wanted.get(what) == wanted:
            return False
        self._wanted[what] = wanted
        self._unsent.add(what)
        return True

    def got(self, what: str, epoch: int) -> None:
        """A map has come: one-time subscriptions are fulfilled, the others go on after it."""
        wanted = self._wanted.get(what)
        if wanted is None or epoch < wanted.start:
            return
        if wanted.flags & SubscribeFlag.ONETIME:
            del self._wanted[what]
            self._unsent.discard(what)
        else:
            self._wanted[what] = Subscription(epoch + 1, wanted.flags)

    def unwant(self, what: str) -> None:
        """It is no longer wanted. There is no message for that: the next session will not ask for it."""
        self._wanted.pop(what, None)
        self._unsent.discard(what)

    def forget_sent(self) -> None:
        """The monitor is another one: it has to be told everything."""
        self._unsent.update(self._wanted)

    def take_unsent(self) -> dict[str, Subscription]:
        """What the monitor does not know yet; it counts as told from now on."""
        unsent = {what: self._wanted[what] for what in sorted(self._unsent)}
        self._unsent.clear()
        return unsent
