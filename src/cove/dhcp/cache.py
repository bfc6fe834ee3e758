"""What the agent knows of the networks that it serves: the last state told by the server, indexed.

A port event costs the same whatever the size of the network. Deleted ports are remembered for a while, so that a
late update does not bring one back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from cove.dhcp.decisions import PortKnown, is_older
from cove.dhcp.models import NetworkInfo, PortInfo, Serving, SubnetInfo

DELETED_PORTS_MAX = 100_000


class CachedNetwork:
    """One network: its subnets and its ports by id, kept up to date by NetworkCache."""

    def __init__(self, info: NetworkInfo) -> None:
        self.id = info.id
        self.project_id = info.project_id
        self.admin_state_up = info.admin_state_up
        self.mtu = info.mtu
        self.subnets: dict[str, SubnetInfo] = {subnet.id: subnet for subnet in info.subnets}
        self._ports: dict[str, PortInfo] = {}
        self._port_by_mac: dict[str, str] = {}
        self._port_by_address: dict[str, str] = {}
        for port in info.ports:
            self._put(port)

    @property
    def ports(self) -> Mapping[str, PortInfo]:
        """The ports by id: a live view."""
        return MappingProxyType(self._ports)

    def dhcp_subnets(self) -> tuple[SubnetInfo, ...]:
        """The subnets to serve, in the order of their ids."""
        return tuple(self.subnets[key] for key in sorted(self.subnets) if self.subnets[key].serves_dhcp)

    def servings(self) -> frozenset[Serving]:
        """How the subnets are to be served."""
        return frozenset(subnet.serving for subnet in self.subnets.values() if subnet.serves_dhcp)

    def port_by_mac(self, mac_address: str) -> PortInfo | None:
        """The port with the MAC (lower case), which is unique within a network."""
        port_id = self._port_by_mac.get(mac_address)
        return self._ports.get(port_id) if port_id is not None else None

    def port_by_address(self, ip_address: str) -> PortInfo | None:
        """The port with the address (in its usual form), which is unique within a network."""
        port_id = self._port_by_address.get(ip_address)
        return self._ports.get(port_id) if port_id is not None else None

    def port_by_device_id(self, device_id: str) -> PortInfo | None:
        """The first port of the device. Looks at all ports: not for the hot path."""
        return next((port for port in self._ports.values() if port.device_id == device_id), None)

    def _put(self, port: PortInfo) -> PortInfo | None:
        before = self._ports.get(port.id)
        if before is not None:
            self._forget_keys(before)
        self._ports[port.id] = port
        self._port_by_mac[port.mac_address] = port.id
        for fixed in port.fixed_ips:
            self._port_by_address[fixed.ip_address] = port.id
        return before

    def _remove(self, port_id: str) -> PortInfo | None:
        before = self._ports.pop(port_id, None)
        if before is not None:
            self._forget_keys(before)
        return before

    def _forget_keys(self, port: PortInfo) -> None:
        """Forget its MAC and addresses, unless they are another port's by now."""
        if self._port_by_mac.get(port.mac_address) == port.id:
            del self._port_by_mac[port.mac_address]
        for fixed in port.fixed_ips:
            if self._port_by_address.get(fixed.ip_address) == port.id:
                del self._port_by_address[fixed.ip_address]


class NetworkCache:
    """All networks of the agent."""

    def __init__(self, *, deleted_ports_max: int = DELETED_PORTS_MAX) -> None:
        self._networks: dict[str, CachedNetwork] = {}
        self._network_by_subnet: dict[str, str] = {}
        self._network_by_port: dict[str, str] = {}
        self._deleted_ports: OrderedDict[str, None] = OrderedDict()
        self._deleted_ports_max = deleted_ports_max

    def __len__(self) -> int:
        return len(self._networks)

    def networks(self) -> Iterable[CachedNetwork]:
        """The networks, as of now."""
        return list(self._networks.values())

    def get(self, network_id: str) -> CachedNetwork | None:
        """The network, or None."""
        return self._networks.get(network_id)

    def by_subnet(self, subnet_id: str) -> CachedNetwork | None:
        """The network of a subnet, or None."""
        return self._networks.get(self._network_by_subnet.get(subnet_id, ""))

    def by_port(self, port_id: str) -> CachedNetwork | None:
        """The network of a port, or None."""
        return self._networks.get(self._network_by_port.get(port_id, ""))

    def port(self, port_id: str) -> PortInfo | None:
        """The port, or None."""
        network = self.by_port(port_id)
        return None if network is None else network.ports.get(port_id)

    def counts(self) -> dict[str, int]:
        """How many networks, subnets and ports there are (for report_state)."""
        return {
            "networks": len(self._networks),
            "subnets": len(self._network_by_subnet),
            "ports": len(self._network_by_port),
        }

    def put(self, info: NetworkInfo) -> CachedNetwork:
        """Take a network as the server told it, in place of what was known.

        Ports that were deleted meanwhile stay out; where a newer revision of a port is known, that stays.
        """
        before = self.remove(info.id)
        network = CachedNetwork(NetworkInfo(info.id, info.project_id, info.admin_state_up, info.mtu, info.subnets))
        for subnet in info.subnets:
            self._network_by_subnet[subnet.id] = info.id
        self._networks[info.id] = network
        for told in info.ports:
            if told.id in self._deleted_ports:
                continue
            known = before.ports.get(told.id) if before is not None else None
            newer = known is not None and is_older(known.revision_number, told.revision_number)
            network._put(known if newer and known is not None else told)
            self._network_by_port[told.id] = info.id
        return network

    def remove(self, network_id: str) -> CachedNetwork | None:
        """Forget a network; its ports do not count as deleted."""
        network = self._networks.pop(network_id, None)
        if network is not None:
            for subnet_id in network.subnets:
                self._network_by_subnet.pop(subnet_id, None)
            for port_id in network.ports:
                self._network_by_port.pop(port_id, None)
        return network

    def classify_port(self, port: PortInfo) -> PortKnown:
        """What an event about the port is worth."""
        network = self._networks.get(port.network_id)
        if network is None:
            return PortKnown.NETWORK_UNKNOWN
        if port.id in self._deleted_ports:
            return PortKnown.DELETED
        cached = network.ports.get(port.id)
        if cached is not None and is_older(cached.revision_number, port.revision_number):
            return PortKnown.OLDER
        return PortKnown.CURRENT

    def put_port(self, port: PortInfo) -> PortInfo | None:
        """Take a port that classify_port called CURRENT; returns what was known of it. Raises KeyError otherwise."""
        before = self._networks[port.network_id]._put(port)
        self._network_by_port[port.id] = port.network_id
        return before

    def remove_port(self, port_id: str) -> PortInfo | None:
        """Forget a deleted port, and remember that it was deleted; returns what was known of it."""
        self._deleted_ports[port_id] = None
        self._deleted_ports.move_to_end(port_id)
        if len(self._deleted_ports) > self._deleted_ports_max:
            self._deleted_ports.popitem(last=False)
        network = self._networks.get(self._network_by_port.pop(port_id, ""))
        return None if network is None else network._remove(port_id)
