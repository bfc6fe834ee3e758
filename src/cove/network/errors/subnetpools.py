"""Subnet pools and address scopes."""

from __future__ import annotations

from cove.network.errors.base import BadRequest, Conflict, InUse, NotFound


class EmptySubnetPoolPrefixList(BadRequest):
    """A subnet pool without prefixes."""

    form = "a subnet pool needs at least one prefix"


class PrefixVersionMismatch(BadRequest):
    """IPv4 and IPv6 in one subnet pool."""

    form = "a subnet pool cannot mix IPv4 and IPv6 prefixes"


class IllegalSubnetPoolPrefixBounds(BadRequest):
    """Prefix lengths of a subnet pool that contradict each other."""

    form = "{prefix_type} {prefixlen} does not go with {base_prefix_type} {base_prefixlen}"


class IllegalSubnetPoolPrefixUpdate(BadRequest):
    """Prefixes that would be taken away from a subnet pool."""

    form = "the prefixes cannot be changed: {msg}"


class IllegalSubnetPoolIpVersionAssociationToAddressScope(BadRequest):
    """IPv4 in an address scope for IPv6, or the reverse."""

    form = "subnet pool {subnetpool_id} does not fit address scope {address_scope_id}, which is for IPv{ip_version}"


class IllegalSubnetPoolUpdate(BadRequest):
    """A change of a subnet pool that its address scope does not allow."""

    form = "the subnet pool cannot be changed: {reason}"


class SubnetPoolDeleteError(BadRequest):
    """Subnets have prefixes of the pool."""

    form = "the subnet pool cannot be deleted: {reason}"


class MinPrefixSubnetAllocationError(BadRequest):
    """A subnet larger than its pool gives."""

    form = "prefix length {prefixlen} is below the pool's min_prefixlen {min_prefixlen}"


class MaxPrefixSubnetAllocationError(BadRequest):
    """A subnet smaller than its pool gives."""

    form = "prefix length {prefixlen} is above the pool's max_prefixlen {max_prefixlen}"


class AddressScopeUpdateError(BadRequest):
    """A change that would break who uses the address scope."""

    form = "address scope {address_scope_id} cannot be changed: {reason}"


class SubnetPoolNotFound(NotFound):
    """No such subnet pool, or not visible to the caller."""

    form = "subnet pool {subnetpool_id} could not be found"


class AddressScopeNotFound(NotFound):
    """No such address scope, or not visible to the caller."""

    form = "address scope {address_scope_id} could not be found"


class SubnetAllocationError(Conflict):
    """No prefix is left, or not the one asked for. (Neutron says 500: as if it were the server's mistake.)"""

    form = "no subnet could be allocated from the pool: {reason}"


class SubnetPoolQuotaExceeded(Conflict):
    """The project has all that the pool's default_quota gives it."""

    form = "the project has {used} of its {quota} {unit} in the pool, and the subnet needs {wanted}"


class AddressScopePrefixConflict(Conflict):
    """Two pools of one address scope share addresses."""

    form = "the prefixes overlap with those of another subnet pool in the same address scope"


class AddressScopeInUse(InUse):
    """Subnet pools are in the address scope."""

    form = "address scope {address_scope_id} is in use: subnet pools are in it"
