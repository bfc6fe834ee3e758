"""The errors of the Networking API: each class is one `type` of the wire form, with its HTTP code.

`{"NeutronError": {"type": <class name>, "message": ..., "detail": ""}}`. The names and codes are Networking v2.0's
(neutron-lib's exceptions and its fault map), because clients decide by them; the sentences are ours.
"""

from __future__ import annotations

from typing import Any, ClassVar

from cove.errors import CoveError

MESSAGE_LENGTH_MAX = 1000


class NetworkingError(CoveError):
    """Root of the tree. `type` and `code` are what the wire form says."""

    type: ClassVar[str] = "NeutronException"
    code: ClassVar[int] = 500
    form: ClassVar[str] = "the request failed"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.type = cls.__dict__.get("type", cls.__name__)

    def __init__(self, message: str | None = None, **values: Any) -> None:
        super().__init__(message if message is not None else self.form.format(**values))
        self.values = values

    def to_json(self) -> dict[str, Any]:
        """The wire form. A message that quotes a long value is cut."""
        message = str(self)
        if len(message) > MESSAGE_LENGTH_MAX:
            message = f"{message[:MESSAGE_LENGTH_MAX]}…"
        return {"NeutronError": {"type": self.type, "message": message, "detail": ""}}


# --- the classes that give the HTTP code -----------------------------------------------------------------------------


class BadRequest(NetworkingError):
    """400."""

    code = 400


class NotAuthorized(NetworkingError):
    """403."""

    code = 403
    form = "this needs the admin role: {action}"


class NotFound(NetworkingError):
    """404."""

    code = 404


class Conflict(NetworkingError):
    """409."""

    code = 409


class InUse(Conflict):
    """409: something still uses the resource."""


class ServiceUnavailable(NetworkingError):
    """503."""

    code = 503


# --- 400 -------------------------------------------------------------------------------------------------------------


class HTTPBadRequest(BadRequest):
    """The request's form: unknown, missing or forbidden attributes, values of the wrong kind."""


class MalformedRequestBody(BadRequest):
    """The body is not JSON, or not an object."""

    form = "malformed request body: {reason}"


class InvalidInput(BadRequest):
    """Values that are well-formed and do not fit together, or the network."""

    form = "invalid input for operation: {reason}"


class InvalidIpForNetwork(BadRequest):
    """A requested address that no subnet of the network contains."""

    form = "IP address {ip_address} is in no subnet of network {network_id}, or is a network or broadcast address there"


class InvalidIpForSubnet(BadRequest):
    """A requested address that the named subnet does not contain."""

    form = "IP address {ip_address} is not a host address of subnet {subnet_id} ({cidr})"


class InvalidAllocationPool(BadRequest):
    """A pool whose start is after its end."""

    form = "allocation pool {pool} is not valid: the start comes after the end"


class OutOfBoundsAllocationPool(BadRequest):
    """A pool outside the subnet, or over its network or broadcast address."""

    form = "allocation pool {pool} reaches outside the host addresses of {cidr}"


class DNSNameServersExhausted(BadRequest):
    """Too many name servers."""

    form = "subnet {subnet_id}: more than {quota} dns_nameservers"


class HostRoutesExhausted(BadRequest):
    """Too many routes."""

    form = "subnet {subnet_id}: more than {quota} host_routes"


class TenantIdProjectIdFilterConflict(BadRequest):
    """tenant_id and project_id are the same thing under two names."""

    form = "tenant_id {tenant_id!r} and project_id {project_id!r} differ; give one of them"


# --- 404 -------------------------------------------------------------------------------------------------------------


class NetworkNotFound(NotFound):
    """No such network, or not visible to the caller."""

    form = "network {network_id} could not be found"


class SubnetNotFound(NotFound):
    """No such subnet, or not visible to the caller."""

    form = "subnet {subnet_id} could not be found"


class PortNotFound(NotFound):
    """No such port, or not visible to the caller."""

    form = "port {port_id} could not be found"


class HTTPNotFound(NotFound):
    """No such path."""

    form = "the resource could not be found: {path}"


# --- 409 -------------------------------------------------------------------------------------------------------------


class NetworkInUse(InUse):
    """Ports other than the DHCP servers' are on the network."""

    form = "network {network_id} is in use: {reason}"


class SubnetInUse(InUse):
    """Ports other than the DHCP servers' have an address from the subnet."""

    form = "subnet {subnet_id} is in use: {reason}"


class ServicePortInUse(InUse):
    """A port that belongs to a router or floating IP."""

    form = "port {port_id} cannot be deleted through the port API: {reason}"


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


class OverlappingAllocationPools(Conflict):
    """Two pools of the request share addresses."""

    form = "allocation pools {pool_1} and {pool_2} of subnet {cidr} overlap"


class GatewayConflictWithAllocationPools(InUse):
    """The gateway lies in a pool."""

    form = "gateway {ip_address} lies in allocation pool {pool}"


class GatewayIpInUse(InUse):
    """The gateway belongs to a router's port."""

    form = "gateway {ip_address} is in use by port {port_id} and cannot be changed"


class InvalidSharedSetting(Conflict):
    """Others' ports are on a network that would stop being shared."""

    form = "network {network_id} cannot stop being shared: ports of other projects are on it"


# --- 503 -------------------------------------------------------------------------------------------------------------


class Busy(ServiceUnavailable):
    """Too much waits for the database."""


class DatabaseRetriesExhausted(ServiceUnavailable):
    """Others kept changing the same rows."""

    form = "the request collided with others {attempts} times; try again"
