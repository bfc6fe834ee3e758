"""The decision tables, row by row."""

from __future__ import annotations

import itertools

import pytest

from cove.dhcp import decisions
from cove.dhcp.decisions import Action, PortKnown, PortOwner, Subnets
from cove.dhcp.models import SLAAC, STATEFUL, STATELESS, Serving

A, B = Serving("1.1.1.0/24"), Serving("1.1.2.0/24")
SIX, SIX_STATEFUL = Serving("fd77::/64", SLAAC, SLAAC), Serving("fd77::/64", STATEFUL, STATEFUL)


@pytest.mark.parametrize(
    ("cached", "up", "before", "now", "action"),
    [
        (False, True, (), (A,), Action.ENABLE),
        (False, True, (), (), Action.NOTHING),
        (False, False, (), (A,), Action.NOTHING),
        (False, False, (), (), Action.NOTHING),
        (True, True, (A,), (A,), Action.RELOAD_ALLOCATIONS),
        (True, True, (A, B), (B, A), Action.RELOAD_ALLOCATIONS),
        (True, True, (A,), (A, B), Action.RESTART),
        (True, True, (A, B), (A,), Action.RESTART),
        (True, True, (A,), (B,), Action.RESTART),
        (True, True, (), (A,), Action.RESTART),
        (False, True, (), (SIX,), Action.ENABLE),
        (True, True, (A, SIX), (SIX, A), Action.RELOAD_ALLOCATIONS),
        (True, True, (A,), (A, SIX), Action.RESTART),
        (True, True, (SIX,), (SIX_STATEFUL,), Action.RESTART),
        (True, True, (SIX,), (Serving("fd77::/64", None, SLAAC),), Action.RESTART),
        (True, True, (SIX,), (Serving("fd77::/64", STATELESS, STATELESS),), Action.RESTART),
        (True, True, (A,), (), Action.DISABLE),
        (True, True, (), (), Action.DISABLE),
        (True, False, (A,), (A,), Action.DISABLE),
        (True, False, (A,), (B,), Action.DISABLE),
    ],
)
def test_refresh(cached, up, before, now, action):
    assert decisions.on_refresh(cached=cached, admin_state_up=up, cached_subnets=before, subnets=now) is action


@pytest.mark.parametrize(
    ("known", "owner", "action"),
    [
        *((PortKnown.NETWORK_UNKNOWN, owner, Action.NOTHING) for owner in PortOwner),
        *((PortKnown.DELETED, owner, Action.NOTHING) for owner in PortOwner),
        *((PortKnown.OLDER, owner, Action.NOTHING) for owner in PortOwner),
        (PortKnown.CURRENT, PortOwner.OWN_SAME_IPS, Action.RELOAD_ALLOCATIONS),
        (PortKnown.CURRENT, PortOwner.OWN_NEW_IPS, Action.RESTART),
        (PortKnown.CURRENT, PortOwner.OTHER, Action.RELOAD_ALLOCATIONS),
    ],
)
def test_port(known, owner, action):
    assert decisions.on_port(known, owner) is action


def test_every_combination_has_an_action():
    for known, owner in itertools.product(PortKnown, PortOwner):
        assert isinstance(decisions.on_port(known, owner), Action)
    assert set(decisions.REFRESH_TABLE) == set(Subnets)
    assert set(decisions.ENABLE_TABLE) == set(itertools.product((True, False), repeat=2))


@pytest.mark.parametrize(("left", "action"), [(True, Action.RELOAD_ALLOCATIONS), (False, Action.DISABLE)])
def test_reload(left, action):
    assert decisions.on_reload(any_dhcp_subnet=left) is action


@pytest.mark.parametrize(
    ("cached", "told", "older"),
    [(None, None, False), (None, 1, False), (1, None, False), (2, 1, True), (2, 2, False), (2, 3, False)],
)
def test_revisions(cached, told, older):
    assert decisions.is_older(cached, told) is older
