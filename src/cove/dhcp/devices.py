"""The agent's own port in a network: bridge, veth pair, namespace, addresses. Plugging again repairs.

    bridge brq<network id[:11]> ── tap<port id[:11]> ══ ns-<port id[:11]> in namespace qdhcp-<network id>

Instances' taps are in the same bridge; it stays as long as one of them is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from cove.dhcp.errors import DriverError
from cove.dhcp.models import PortInfo, SubnetInfo, network_of
from cove.linux import links, namespaces

ID_LENGTH = 11
INTERFACE_PREFIX, TAP_PREFIX = "ns-", "tap"
SERVER_IPV6 = {"accept_ra": 0, "autoconf": 0, "accept_dad": 0, "dad_transmits": 0}
"""net.ipv6.conf of the DHCP server's device."""


def namespace_name(network_id: str) -> str:
    """The namespace in which a network's DHCP server runs."""
    return f"qdhcp-{network_id}"


def bridge_name(network_id: str) -> str:
    """The bridge that is the network on this host."""
    return f"brq{network_id[:ID_LENGTH]}"


def interface_name(port_id: str) -> str:
    """The DHCP port's end inside the namespace."""
    return f"{INTERFACE_PREFIX}{port_id[:ID_LENGTH]}"


def tap_name(port_id: str) -> str:
    """The port's end in the bridge."""
    return f"{TAP_PREFIX}{port_id[:ID_LENGTH]}"


def server_addresses(port: PortInfo, subnets: Sequence[SubnetInfo]) -> tuple[str, ...]:
    """The port's address in each subnet with its prefix length. Raises DriverError if one is missing."""
    by_subnet = {fixed.subnet_id: fixed.ip_address for fixed in port.fixed_ips}
    missing = [subnet.id for subnet in subnets if subnet.id not in by_subnet]
    if missing:
        raise DriverError(f"DHCP port {port.id} has no address in subnet {missing[0]}")
    return tuple(f"{by_subnet[subnet.id]}/{network_of(subnet).prefixlen}" for subnet in subnets)


async def plug(
    network_id: str, port: PortInfo, addresses: Sequence[str], mtu: int, port_ids: Iterable[str] = ()
) -> None:
    """Make everything be there and up as drawn above, with exactly these addresses. Raises OSError, LinkError.

    If the bridge has to be made, the taps of `port_ids` that are there already come back into it.
    """
    namespace = namespace_name(network_id)
    interface = interface_name(port.id)
    created = await asyncio.to_thread(namespaces.create, namespace)
    await links.set_ipv6("default", SERVER_IPV6, namespace=namespace)  # in force before a device has an address
    if not created:
        await _remove_interfaces(namespace, keep=interface)
    bridge = bridge_name(network_id)
    new_bridge = not await links.exists(bridge)
    await links.ensure_bridge(bridge)
    if new_bridge:
        await links.join_bridge(bridge, {tap_name(port_id) for port_id in port_ids})
    await links.ensure_veth(
        tap_name(port.id),
        interface,
        peer_namespace=namespace,
        bridge=bridge,
        mtu=mtu,
        peer_mac_address=port.mac_address,
    )
    # The namespace serves: it takes no advice from advertisements, its own come back to it, and its addresses are the
    # database's, so that nobody has to wait a second for each to be found unique.
    await links.set_ipv6(interface, SERVER_IPV6, namespace=namespace)
    await links.disable_tx_checksum_offload(interface, namespace=namespace)
    await links.ensure_addresses(interface, addresses, namespace=namespace)


async def is_plugged(network_id: str, interface: str, addresses: Sequence[str]) -> bool:
    """Whether everything is there and up as `plug` made it. Raises OSError."""
    namespace = namespace_name(network_id)
    if not namespaces.exists(namespace):
        return False
    bridge = await links.get(bridge_name(network_id))
    tap = await links.get(f"{TAP_PREFIX}{interface.removeprefix(INTERFACE_PREFIX)}")
    if bridge is None or tap is None or tap.master != bridge.index or not (bridge.up and tap.up):
        return False
    try:
        inside = await links.get(interface, namespace=namespace)
        if inside is None or not inside.up:
            return False
        return set(await links.addresses(interface, namespace=namespace)) == set(addresses)
    except (namespaces.NamespaceError, links.LinkError):  # gone between two looks
        return False


async def unplug(network_id: str) -> None:
    """Remove the veth pair and the namespace, and the bridge if nothing else is in it. No error if all is gone."""
    namespace = namespace_name(network_id)
    if await asyncio.to_thread(namespaces.exists, namespace):
        await _remove_interfaces(namespace)
    await asyncio.to_thread(namespaces.remove, namespace)
    await links.delete_bridge_if_unused(bridge_name(network_id))


async def _remove_interfaces(namespace: str, *, keep: str | None = None) -> None:
    """Remove our interfaces (of former DHCP ports) but one; the other end in the bridge goes with each."""
    for link in await links.list_links(namespace=namespace):
        if link.name.startswith(INTERFACE_PREFIX) and link.name != keep:
            await links.delete(link.name, namespace=namespace)
