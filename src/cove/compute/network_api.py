"""The compute side's view of the Networking v2.0 API: ports for instances, and what its errors mean to an instance.

`NetworkApi` is what the boot flow needs; `HttpNetworkApi` gets it from any server of that API. In the one-process
case the HTTP client calls the application in memory. Sources: OpenStack's Networking API v2.0 reference; the
translation of errors is what Nova does in `nova.network.neutron`.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import httpx
import msgspec
import structlog

from cove.errors import CoveError

log = structlog.get_logger(__name__)

T = TypeVar("T")

REQUEST_TIMEOUT_S = 30.0
DEVICE_OWNER = "compute:nova"
PRECONDITION_FAILED = 412
MESSAGE_LENGTH_MAX = 500
BIND_TRIES = 5
"""A port may change between being looked at and being bound: then it is looked at again."""


class NetworkApiError(CoveError):
    """The Networking API refused a request, or did not answer. `type` is the API's own name of the error."""

    def __init__(self, message: str, *, status: int = 0, type: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.type = type


class NetworkNotFound(NetworkApiError):
    """There is no such network."""


class NetworkAmbiguous(NetworkApiError):
    """More than one network has this name."""


class PortNotFound(NetworkApiError):
    """There is no such port."""


class FixedIpAlreadyInUse(NetworkApiError):
    """Another port has the requested address."""


class PortLimitExceeded(NetworkApiError):
    """The project may have no more ports."""


class NoMoreFixedIps(NetworkApiError):
    """The network has no free address left."""


class PortInUse(NetworkApiError):
    """Another port, or another instance, has what was asked for."""


class PortNotFree(NetworkApiError):
    """There is no MAC address left to make a port with."""


class SecurityGroupNotFound(NetworkApiError):
    """There is no such security group."""


class FixedIp(msgspec.Struct, frozen=True):
    """An address of a port."""

    ip_address: str
    subnet_id: str = ""


class AddressPair(msgspec.Struct, frozen=True):
    """Addresses (one, or a CIDR) that a port may use besides its own; with the port's MAC if none is given."""

    ip_address: str
    mac_address: str = ""


class Port(msgspec.Struct, frozen=True):
    """A port, as far as an instance is concerned. `status` is ACTIVE, DOWN or BUILD."""

    id: str
    network_id: str
    mac_address: str
    status: str
    fixed_ips: list[FixedIp] = []
    device_id: str = ""
    device_owner: str = ""
    port_security_enabled: bool = True
    allowed_address_pairs: list[AddressPair] = []
    project_id: str = ""
    revision_number: int = 0


class Network(msgspec.Struct, frozen=True, rename={"external": "router:external"}):
    """A network; `mtu` is in bytes."""

    id: str
    name: str = ""
    mtu: int = 1500
    status: str = "ACTIVE"
    subnets: list[str] = []
    project_id: str = ""
    shared: bool = False
    external: bool = False


class Subnet(msgspec.Struct, frozen=True):
    """A subnet, as far as it says how a guest comes to its address. The modes are those of IPv6."""

    id: str
    cidr: str
    ip_version: int = 4
    enable_dhcp: bool = True
    ipv6_ra_mode: str | None = None
    ipv6_address_mode: str | None = None


class SecurityGroup(msgspec.Struct, frozen=True):
    """A security group, by name."""

    id: str
    name: str = ""


Credentials = Mapping[str, str]
"""Headers of a request that say who asks. What is asked with them is answered as to that person, and no more."""


@dataclass(frozen=True, slots=True)
class PortRequest:
    """A port to be made for an instance.

    `available_macs`: None if any MAC will do; else the only ones the instance can have, from which one is taken.
    """

    network_id: str
    device_id: str
    host: str
    project_id: str
    name: str = ""
    fixed_ip: str | None = None
    security_groups: tuple[str, ...] = ()
    available_macs: set[str] | None = None
    extra_dhcp_opts: tuple[Mapping[str, str], ...] = ()


class NetworkApi(Protocol):
    """What the boot flow needs of the Networking service."""

    async def find_network(self, name_or_id: str, *, credentials: Credentials | None = None) -> Network:
        """The network with this id or, failing that, this name. Raises NetworkNotFound, NetworkAmbiguous."""
        ...

    async def list_subnets(self, network_id: str) -> list[Subnet]:
        """The network's subnets, of both IP versions."""
        ...

    async def find_security_groups(
        self, names_or_ids: Sequence[str], *, project_id: str, credentials: Credentials | None = None
    ) -> list[SecurityGroup]:
        """The project's security groups of these names or ids. Raises SecurityGroupNotFound, NetworkAmbiguous."""
        ...

    async def create_port(self, request: PortRequest) -> Port:
        """Make a port for an instance. Raises one of the translated errors (see TRANSLATIONS)."""
        ...

    async def show_port(self, port_id: str, *, credentials: Credentials | None = None) -> Port:
        """Raises PortNotFound."""
        ...

    async def list_ports(self, device_id: str) -> list[Port]:
        """The ports that belong to the instance."""
        ...

    async def list_changed_ports(self, since: str | None) -> list[Port]:
        """Instances' ports that were changed at the time (as the API writes times) or later; None: all."""
        ...

    async def bind_port(self, port_id: str, *, device_id: str, host: str) -> Port:
        """Give an existing port to an instance on a host, unless it is another's. Raises PortNotFound, PortInUse."""
        ...

    async def unbind_port(self, port_id: str) -> None:
        """Take an existing port from its instance; a port that is gone is no error."""
        ...

    async def delete_port(self, port_id: str) -> None:
        """Delete a port; a port that is gone is no error."""
        ...


def _in_use(request: PortRequest, error: NetworkApiError, mac: str | None) -> NetworkApiError:
    return FixedIpAlreadyInUse(
        f"fixed IP {request.fixed_ip} is already in use on network {request.network_id}",
        status=error.status, type=error.type,
    )  # fmt: skip


def _over_quota(request: PortRequest, error: NetworkApiError, mac: str | None) -> NetworkApiError:
    return PortLimitExceeded(
        f"project {request.project_id} may have no more ports: {error}", status=error.status, type=error.type
    )


def _exhausted(request: PortRequest, error: NetworkApiError, mac: str | None) -> NetworkApiError:
    return NoMoreFixedIps(
        f"network {request.network_id} has no free fixed IP left", status=error.status, type=error.type
    )


def _mac_in_use(request: PortRequest, error: NetworkApiError, mac: str | None) -> NetworkApiError:
    return PortInUse(
        f"MAC address {mac} is already in use on network {request.network_id}", status=error.status, type=error.type
    )


Translator = Callable[[PortRequest, NetworkApiError, "str | None"], NetworkApiError]

# What an error of POST /v2.0/ports means to an instance, by its type. What is absent is logged and passed on.
TRANSLATIONS: dict[str, Translator] = {
    "IpAddressInUse": _in_use,
    "IpAddressAlreadyAllocated": _in_use,
    "OverQuota": _over_quota,
    "IpAddressGenerationFailure": _exhausted,
    "IpAddressGenerationFailureAllSubnets": _exhausted,
    "MacAddressInUse": _mac_in_use,
}


def port_body(request: PortRequest, mac_address: str | None) -> dict[str, Any]:
    """The body of POST /v2.0/ports for an instance's port."""
    body: dict[str, Any] = {
        "network_id": request.network_id,
        "device_id": request.device_id,
        "device_owner": DEVICE_OWNER,
        "admin_state_up": True,
        "project_id": request.project_id,
        "binding:host_id": request.host,
    }
    if request.name:
        body["name"] = request.name
    if request.fixed_ip is not None:
        body["fixed_ips"] = [{"ip_address": request.fixed_ip}]
    if request.security_groups:
        body["security_groups"] = list(request.security_groups)
    if request.extra_dhcp_opts:
        body["extra_dhcp_opts"] = [dict(option) for option in request.extra_dhcp_opts]
    if mac_address is not None:
        body["mac_address"] = mac_address
    return {"port": body}


def check_binding(port: Port, device_id: str) -> None:
    """Raises PortInUse if the port belongs to another instance."""
    if port.device_id not in ("", device_id):
        raise PortInUse(f"port {port.id} is in use by {port.device_id}")


class HttpNetworkApi:
    """The Networking v2.0 API over HTTP. The client carries base URL (without /v2.0) and token."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def find_network(self, name_or_id: str, *, credentials: Credentials | None = None) -> Network:
        """The network with this id or, failing that, this name. Raises NetworkNotFound, NetworkAmbiguous."""
        if not name_or_id:
            raise NetworkNotFound("network '': a name or an id is wanted")
        for key in ("id", "name"):
            answer = await self._request("GET", "networks", params={key: name_or_id}, headers=credentials)
            networks = _read(answer, "networks", list[Network])
            if len(networks) > 1:
                ids = ", ".join(network.id for network in networks)
                raise NetworkAmbiguous(f"{len(networks)} networks are called {name_or_id!r}: use an id ({ids})")
            if networks:
                return networks[0]
        raise NetworkNotFound(f"no network has the name or id {name_or_id!r}", status=404)

    async def list_subnets(self, network_id: str) -> list[Subnet]:
        """The network's subnets, of both IP versions."""
        return _read(await self._request("GET", "subnets", params={"network_id": network_id}), "subnets", list[Subnet])

    async def find_security_groups(
        self, names_or_ids: Sequence[str], *, project_id: str, credentials: Credentials | None = None
    ) -> list[SecurityGroup]:
        """The project's security groups of these names or ids. Raises SecurityGroupNotFound, NetworkAmbiguous."""
        found = []
        for wanted in dict.fromkeys(names_or_ids):
            for key in ("id", "name"):
                params = {key: wanted, "project_id": project_id, "fields": ["id", "name"]}
                answer = await self._request("GET", "security-groups", params=params, headers=credentials)
                groups = _read(answer, "security_groups", list[SecurityGroup])
                if groups:
                    break
            else:
                raise SecurityGroupNotFound(f"no security group has the name or id {wanted!r}", status=404)
            if len(groups) > 1:
                ids = ", ".join(group.id for group in groups)
                raise NetworkAmbiguous(f"{len(groups)} security groups are called {wanted!r}: use an id ({ids})")
            found.append(groups[0])
        return found

    async def create_port(self, request: PortRequest) -> Port:
        """Make a port for an instance; a MAC taken from `available_macs` is removed there.

        Raises FixedIpAlreadyInUse, PortLimitExceeded, NoMoreFixedIps, PortInUse, PortNotFree; anything else is
        logged and raised as it came.
        """
        mac_address = None
        if request.available_macs is not None:
            if not request.available_macs:
                raise PortNotFree(f"instance {request.device_id} has no free MAC address left")
            mac_address = min(request.available_macs)
            request.available_macs.remove(mac_address)
        if request.fixed_ip is not None:
            _check_address(request.fixed_ip)
        try:
            answer = await self._request("POST", "ports", json=port_body(request, mac_address))
        except NetworkApiError as error:
            translate = TRANSLATIONS.get(error.type)
            if translate is None:
                log.error("network_api.create_port", network=request.network_id, type=error.type, error=str(error))
                raise
            raise translate(request, error, mac_address) from error
        return _read(answer, "port", Port)

    async def show_port(self, port_id: str, *, credentials: Credentials | None = None) -> Port:
        """Raises PortNotFound."""
        return _read(await self._request("GET", f"ports/{_segment(port_id)}", headers=credentials), "port", Port)

    async def list_ports(self, device_id: str) -> list[Port]:
        """The ports that belong to the instance."""
        return _read(await self._request("GET", "ports", params={"device_id": device_id}), "ports", list[Port])

    async def list_changed_ports(self, since: str | None) -> list[Port]:
        """Instances' ports that were changed at the time (as the API writes times) or later; None: all."""
        params = {"device_owner": DEVICE_OWNER} | ({} if since is None else {"changed_since": since})
        return _read(await self._request("GET", "ports", params=params), "ports", list[Port])

    async def bind_port(self, port_id: str, *, device_id: str, host: str) -> Port:
        """Give an existing port to an instance on a host, unless it is another's. Raises PortNotFound, PortInUse."""
        body = {"device_id": device_id, "device_owner": DEVICE_OWNER, "binding:host_id": host}
        for _ in range(BIND_TRIES):
            port = await self.show_port(port_id)
            check_binding(port, device_id)
            unchanged = {"If-Match": f"revision_number={port.revision_number}"}
            try:
                answer = await self._request(
                    "PUT", f"ports/{_segment(port_id)}", json={"port": body}, headers=unchanged
                )
            except NetworkApiError as error:
                if error.status != PRECONDITION_FAILED:
                    raise
            else:
                return _read(answer, "port", Port)
        raise NetworkApiError(f"port {port_id} changes all the time: try again", status=PRECONDITION_FAILED)

    async def unbind_port(self, port_id: str) -> None:
        """Take an existing port from its instance; a port that is gone is no error."""
        body = {"device_id": "", "device_owner": "", "binding:host_id": ""}
        try:
            await self._request("PUT", f"ports/{_segment(port_id)}", json={"port": body})
        except PortNotFound:
            pass

    async def delete_port(self, port_id: str) -> None:
        """Delete a port; a port that is gone is no error."""
        try:
            await self._request("DELETE", f"ports/{_segment(port_id)}")
        except PortNotFound:
            pass

    async def _request(self, method: str, path: str, **arguments: Any) -> Any:
        what = f"{method} /v2.0/{path}"
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                response = await self._client.request(method, f"/v2.0/{path}", **arguments)
        except TimeoutError:
            raise NetworkApiError(f"{what}: no answer after {REQUEST_TIMEOUT_S:.0f} s") from None
        except httpx.HTTPError as error:
            raise NetworkApiError(f"{what}: {error or type(error).__name__}") from error
        if not response.is_success:
            raise _refusal(what, response)
        return response.json() if response.content else None


def _refusal(what: str, response: httpx.Response) -> NetworkApiError:
    """The API's error form is {"NeutronError": {"type", "message", "detail"}}."""
    kind = message = ""
    try:
        body = response.json()
    except ValueError:
        body = None
    if isinstance(body, dict) and isinstance(error := body.get("NeutronError"), dict):
        kind, message = str(error.get("type", "")), str(error.get("message", ""))
    message = message or f"{what}: HTTP {response.status_code}: {response.text}"
    refusal = PortNotFound if kind == "PortNotFound" else NetworkApiError
    return refusal(message[:MESSAGE_LENGTH_MAX], status=response.status_code, type=kind)


def _read(answer: Any, key: str, kind: type[T]) -> T:
    try:
        return msgspec.convert(answer[key], kind)
    except (msgspec.ValidationError, KeyError, TypeError) as error:
        raise NetworkApiError(f"the Networking API's answer makes no sense: {key}: {error}") from error


def _segment(port_id: str) -> str:
    """An id that goes into a URL's path."""
    if not port_id or not set(port_id) <= set("0123456789abcdefABCDEF-"):
        raise PortNotFound(f"port {port_id!r}: an id is wanted", status=404, type="PortNotFound")
    return port_id


def _check_address(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise NetworkApiError(f"fixed_ip {text!r}: an IP address is wanted", status=400) from None
