"""Networks and their segments."""

from __future__ import annotations

from cove.network.errors.base import Conflict, InUse, NotFound, ServiceUnavailable


class NetworkNotFound(NotFound):
    """No such network, or not visible to the caller."""

    form = "network {network_id} could not be found"


class AvailabilityZoneNotFound(NotFound):
    """A zone that no DHCP agent is in."""

    form = "availability zone {availability_zone!r} could not be found: no DHCP agent is in it"


class NetworkInUse(InUse):
    """Ports other than the DHCP servers' are on the network."""

    form = "network {network_id} is in use: {reason}"


class FlatNetworkInUse(InUse):
    """Another flat network is on the physical network."""

    form = "physical network {physical_network} carries a flat network already"


class VlanIdInUse(InUse):
    """Another network has the VLAN."""

    form = "VLAN {segmentation_id} of physical network {physical_network} is in use by another network"


class TunnelIdInUse(InUse):
    """Another network has the tunnel."""

    form = "tunnel id {segmentation_id} is in use by another network"


class DefaultExternalNetworkExists(Conflict):
    """There is a default external network already."""

    form = "network {net_id} is the default external network already"


class NetworkMTUSubnetConflict(Conflict):
    """IPv6 on a network whose MTU is too small for it."""

    form = "network {network_id} has an MTU below the {mtu} bytes that IPv6 needs"


class ExternalNetworkInUse(InUse):
    """Gateways of routers are on the network."""

    form = "external network {net_id} is in use: it has gateway ports"


class InvalidSharedSetting(Conflict):
    """Others' ports are on a network that would stop being shared."""

    form = "network {network_id} cannot stop being shared: ports of other projects are on it"


class NoNetworkAvailable(ServiceUnavailable):
    """Every segment of the type is taken."""

    form = "no segment is left for another network; delete networks, or give provider attributes"
