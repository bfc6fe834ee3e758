"""Policy: who may do what, decided by rules that are data.

`policy.toml` beside this module holds every rule; an operator's file replaces those that it names. The names and the
language of rules are those of Neutron and oslo.policy, so that what is known about one is true of the other.

    action      create_port            a verb and a resource
    attribute   create_port:mac_address, get_network:provider:network_type, create_port:fixed_ips:ip_address

An attribute needs no declaration to be guarded: that a rule for it exists is enough.
"""

from __future__ import annotations

from cove.network.policy.files import PolicyError
from cove.network.policy.policy import Policy

__all__ = ["Policy", "PolicyError"]
