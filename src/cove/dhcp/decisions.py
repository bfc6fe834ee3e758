"""What the agent does on which event: the decision tables, as pure functions over tables.

Source: Neutron's DHCP agent (refresh_dhcp_helper, port_update_end, reload_allocations). The agent gathers the facts,
a function here picks the action, the network's worker carries it out.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

from cove.dhcp.models import Serving


class Action(Enum):
    """What to do with a network's DHCP server."""

    NOTHING = "nothing"
    ENABLE = "enable"
    RELOAD_ALLOCATIONS = "reload_allocations"
    RESTART = "restart"
    DISABLE = "disable"


class Subnets(Enum):
    """The subnets with DHCP now, compared with those cached: CIDR and, for IPv6, who advertises what."""

    SAME = "same as cached"
    DIFFERENT = "different, at least one"
    NONE = "none"


class PortKnown(Enum):
    """What the agent knows about the network and the port of an event."""

    NETWORK_UNKNOWN = "network unknown"
    DELETED = "port was deleted"
    OLDER = "older than the cached revision"
    CURRENT = "new or newer"


class PortOwner(Enum):
    """Whose port an event is about."""

    OWN_SAME_IPS = "this agent's, addresses as cached"
    OWN_NEW_IPS = "this agent's, addresses changed"
    OTHER = "somebody else's"


ENABLE_TABLE: dict[tuple[bool, bool], Action] = {
    # (admin_state_up, any subnet with DHCP)
    (True, True): Action.ENABLE,
    (True, False): Action.NOTHING,
    (False, True): Action.NOTHING,
    (False, False): Action.NOTHING,
}
"""A network that is not cached yet, freshly fetched."""

REFRESH_TABLE: dict[Subnets, Action] = {
    Subnets.SAME: Action.RELOAD_ALLOCATIONS,
    Subnets.DIFFERENT: Action.RESTART,
    Subnets.NONE: Action.DISABLE,
}
"""A cached network whose subnets may have changed."""

PORT_TABLE: dict[tuple[PortKnown, PortOwner | None], Action] = {
    (PortKnown.NETWORK_UNKNOWN, None): Action.NOTHING,
    (PortKnown.DELETED, None): Action.NOTHING,
    (PortKnown.OLDER, None): Action.NOTHING,
    (PortKnown.CURRENT, PortOwner.OWN_SAME_IPS): Action.RELOAD_ALLOCATIONS,
    (PortKnown.CURRENT, PortOwner.OWN_NEW_IPS): Action.RESTART,
    (PortKnown.CURRENT, PortOwner.OTHER): Action.RELOAD_ALLOCATIONS,
}
"""A port was created or updated. The owner matters only for an event that counts."""

RELOAD_TABLE: dict[bool, Action] = {
    # any subnet with DHCP left?
    True: Action.RELOAD_ALLOCATIONS,
    False: Action.DISABLE,
}
"""What reload_allocations comes to."""


def compare_subnets(cached: Collection[Serving], now: Collection[Serving]) -> Subnets:
    """Classify the subnets with DHCP now against those cached."""
    if not now:
        return Subnets.NONE
    return Subnets.SAME if set(cached) == set(now) else Subnets.DIFFERENT


def on_refresh(
    *,
    cached: bool,
    admin_state_up: bool,
    cached_subnets: Collection[Serving] = (),
    subnets: Collection[Serving] = (),
) -> Action:
    """refresh_dhcp_helper: a subnet (or the network) was created, updated or deleted.

    A cached network that was set down is disabled; otherwise see ENABLE_TABLE and REFRESH_TABLE.
    """
    if not cached:
        return ENABLE_TABLE[admin_state_up, bool(subnets)]
    if not admin_state_up:
        return Action.DISABLE
    return REFRESH_TABLE[compare_subnets(cached_subnets, subnets)]


def on_port(known: PortKnown, owner: PortOwner) -> Action:
    """port_create_end, port_update_end: see PORT_TABLE."""
    return PORT_TABLE[known, owner if known is PortKnown.CURRENT else None]


def on_reload(*, any_dhcp_subnet: bool) -> Action:
    """reload_allocations: see RELOAD_TABLE."""
    return RELOAD_TABLE[any_dhcp_subnet]


def is_older(cached_revision: int | None, revision: int | None) -> bool:
    """Whether an event's revision is older than the cached one; a missing number counts as new."""
    return cached_revision is not None and revision is not None and revision < cached_revision
