"""User ids for instances: each running QEMU has one of its own, so that it can touch nothing of another's."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection

from cove.compute.qemu import allocate_uid, is_instance_uid


def uids_of_processes() -> set[int]:
    """The ids of the range that processes have now: also those of another Cove on this host."""
    found: set[int] = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                found.add(os.stat(f"/proc/{name}").st_uid)
            except (FileNotFoundError, ProcessLookupError):
                continue
    return {uid for uid in found if is_instance_uid(uid)}


class UidPool:
    """Who has which id. Not thread-safe: use it on the event loop."""

    def __init__(self, in_use: Callable[[], Collection[int]] = uids_of_processes) -> None:
        self._in_use = in_use
        self._owners: dict[str, int] = {}

    def reserve(self, owner: str) -> int:
        """A free id, or the one that this owner has already. Raises SpecError if there is none."""
        if owner not in self._owners:
            self._owners[owner] = allocate_uid({*self._owners.values(), *self._in_use()})
        return self._owners[owner]

    def restore(self, owner: str, uid: int) -> None:
        """Note that a process found running has this id."""
        self._owners[owner] = uid

    def release(self, owner: str) -> None:
        """Give an owner's id back; one that has none is no error."""
        self._owners.pop(owner, None)
