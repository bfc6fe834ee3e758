"""Ports: their addresses, what they send from, and who guards it."""

from __future__ import annotations

from cove.network.errors.base import BadRequest, Conflict, InUse, InvalidInput, NotFound, ServiceUnavailable


class InvalidIpForNetwork(BadRequest):
    """A requested address that no subnet of the network contains."""

    form = "IP address {ip_address} is in no subnet of network {network_id}, or is a network or broadcast address there"


class InvalidIpForSubnet(BadRequest):
    """A requested address that the named subnet does not contain."""

    form = "IP address {ip_address} is not a host address of subnet {subnet_id} ({cidr})"


class AllocationOnAutoAddressSubnet(InvalidInput):
    """An address by name where hosts make theirs from their MAC address."""

    form = "IP address {ip_address} cannot be given on subnet {subnet_id}: addresses there follow from the MAC address"


class AllowedAddressPairExhausted(BadRequest):
    """Too many pairs."""

    form = "more than {quota} allowed_address_pairs"


class AllowedAddressPairsMissingIP(InvalidInput):
    """A pair without an address."""

    form = "an entry of allowed_address_pairs needs an ip_address"


class PortSecurityAndIPRequiredForSecurityGroups(InvalidInput):
    """Security groups on a port without port security."""

    form = "a port without port_security_enabled cannot have security_groups: enable it, or give no groups"


class DuplicateAddressPairInRequest(InvalidInput):
    """A pair that is there twice."""

    form = "allowed_address_pairs has {ip_address} with MAC address {mac_address} twice"


class PortNotFound(NotFound):
    """No such port, or not visible to the caller."""

    form = "port {port_id} could not be found"


class PortBound(InUse):
    """A bound port's MAC cannot change."""

    form = "port {port_id} is bound to host {host}: unbind it before changing its MAC from {old_mac} to {new_mac}"


class UnsupportedPortDeviceOwner(Conflict):
    """The operation is not for ports of the network service itself."""

    form = "{operation} is not supported for port {port_id}, whose device_owner is {device_owner}"


class MacAddressInUse(InUse):
    """Another port of the network has the MAC."""

    form = "MAC address {mac} is already in use on network {network_id}"


class IpAddressAlreadyAllocated(Conflict):
    """A requested address that another port has."""

    form = "IP address {ip_address} is already allocated in subnet {subnet_id}"


class IpAddressGenerationFailure(Conflict):
    """The pools are exhausted."""

    form = "no more IP addresses available on network {network_id}"


class IpAddressGenerationFailureNoMatchingSubnet(IpAddressGenerationFailure):
    """Subnets are there, and none is for ports of that owner."""

    form = "no subnet of network {network_id} serves ports with device_owner {service_type!r} (service_types)"


class PortSecurityPortHasSecurityGroup(InUse):
    """Port security cannot go while the port has groups."""

    form = "port security cannot be disabled while the port has security_groups: remove them first, or with it"


class AddressPairAndPortSecurityRequired(Conflict):
    """Address pairs on a port without port security."""

    form = "a port without port_security_enabled cannot have allowed_address_pairs: enable it, or give no pairs"


class MacAddressGenerationFailure(ServiceUnavailable):
    """Nearly every random MAC address is taken."""

    form = "no free MAC address was found for another port of network {network_id}; try again, or give a mac_address"
