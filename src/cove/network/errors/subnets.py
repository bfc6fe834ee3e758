"""Subnets: their addresses, pools and gateways."""

from __future__ import annotations

from cove.network.errors.base import BadRequest, Conflict, InUse, InvalidInput, NotFound


class InvalidCIDR(BadRequest):
    """Not a network in CIDR form."""

    form = "{input!r} is not a network in CIDR form, such as 192.0.2.0/24 or 2001:db8::/64"


class InvalidAllocationPool(BadRequest):
    """A pool whose start is after its end, or that is of the other IP version."""

    form = "allocation pool {pool} is not valid: {reason}"


class OutOfBoundsAllocationPool(BadRequest):
    """A pool outside the subnet, or over its network or broadcast address."""

    form = "allocation pool {pool} reaches outside the host addresses of {cidr}"


class InvalidSubnetServiceType(InvalidInput):
    """A service type that no port could have."""

    form = "service type {service_type!r} must begin with one of {prefixes}"


class InvalidInputSubnetServiceType(InvalidInput):
    """A service type that is no text."""

    form = "service type {service_type!r} is not text"


class NetworkSubnetPoolAffinityError(BadRequest):
    """Subnets of one network and IP version from different pools."""

    form = "all IPv{ip_version} subnets of a network must come from the same subnet pool, or from none: {reason}"


class NetworkAddressScopeAffinityError(BadRequest):
    """Subnets of one network and IP version in different address scopes."""

    form = "all IPv{ip_version} subnets of a network must be in the same address scope: {reason}"


class DNSNameServersExhausted(BadRequest):
    """Too many name servers."""

    form = "subnet {subnet_id}: more than {quota} dns_nameservers"


class HostRoutesExhausted(BadRequest):
    """Too many routes."""

    form = "subnet {subnet_id}: more than {quota} host_routes"


class SubnetNotFound(NotFound):
    """No such subnet, or not visible to the caller."""

    form = "subnet {subnet_id} could not be found"


class SubnetInUse(InUse):
    """Ports other than the DHCP servers' have an address from the subnet."""

    form = "subnet {subnet_id} is in use: {reason}"


class OverlappingAllocationPools(Conflict):
    """Two pools of the request share addresses."""

    form = "allocation pools {pool_1} and {pool_2} of subnet {cidr} overlap"


class GatewayConflictWithAllocationPools(InUse):
    """The gateway lies in a pool."""

    form = "gateway {ip_address} lies in allocation pool {pool}"


class GatewayIpInUse(InUse):
    """The gateway belongs to a router's port."""

    form = "gateway {ip_address} is in use by port {port_id} and cannot be changed"
