"""What a request for a server may say, and the record that it becomes.

Everything is looked at before anything is made: names, sizes, the image, the network or port.
"""

from __future__ import annotations

import uuid

import msgspec

from cove.compute import qemu
from cove.compute.boot import micro_guest
from cove.compute.disks import DISK_BYTES_MAX, DISK_BYTES_MIN, IMAGE_POOL, SECTOR_BYTES, DiskService
from cove.compute.guest import GuestBuildError
from cove.compute.models import Runtime, Server, Status, now
from cove.compute.network_api import Network, Port, SecurityGroup, check_binding
from cove.compute.steps import Toolbox
from cove.errors import CoveError

DISK_BYTES_DEFAULT = 256 << 20
MEMORY_MB_DEFAULT = 128
MEMORY_MB_IMAGE_DEFAULT = 512


class InvalidRequest(CoveError):
    """A request names something that cannot be: says field, value and remedy."""


class ConflictingState(CoveError):
    """The server is not in a state in which that can be done."""


class BootRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A server to be made. Either `network` (name or id) or `port_id` is given."""

    name: str
    project_id: str
    network: str | None = None
    port_id: str | None = None
    fixed_ip: str | None = None
    image: str | None = None
    disk_bytes: int | None = None
    memory_mb: int | None = None
    security_groups: tuple[str, ...] = ()
    credentials: dict[str, str] | None = None
    """Whose eyes networks, ports and security groups are looked up with; None: the service's own, which see all."""
    plain_disk_name: bool = True
    """The disk's name is made of the server's alone. Names are those of one project: at most one may have that."""


async def new_record(request: BootRequest, tools: Toolbox) -> Server:
    """The record of the server that is asked for, not stored yet.

    Raises InvalidRequest, or a NetworkApiError.
    """
    if not qemu.valid_name(request.name):
        raise InvalidRequest(
            f"name {request.name!r}: letters, digits, dots and dashes, at most 63: it becomes a host name"
        )
    if (request.network is None) == (request.port_id is None):
        raise InvalidRequest("networks: one network or one port is wanted")
    memory_mb = request.memory_mb
    if memory_mb is None:
        memory_mb = MEMORY_MB_IMAGE_DEFAULT if request.image else MEMORY_MB_DEFAULT
    if not qemu.MEMORY_MB_MIN <= memory_mb <= qemu.MEMORY_MB_MAX:
        raise InvalidRequest(f"memory of {memory_mb} MiB: {qemu.MEMORY_MB_MIN} to {qemu.MEMORY_MB_MAX} MiB are wanted")
    if request.image is None:
        try:
            await micro_guest(tools)
        except GuestBuildError as error:
            raise InvalidRequest(f"the micro guest can't be booted: {error}; or give an image") from error
    disk_bytes = await _disk_size(request, tools.disks)
    server_id = str(uuid.uuid4())
    credentials = request.credentials
    if request.port_id is not None:
        if request.fixed_ip is not None:
            raise InvalidRequest("fixed_ip: a port has its address already; give a network to choose one")
        port = await tools.network.show_port(request.port_id, credentials=credentials)
        check_usable(port, request)
        check_binding(port, server_id)
        network = await tools.network.find_network(port.network_id, credentials=credentials)
        groups: list[SecurityGroup] = []  # a port has its own
    else:
        network = await tools.network.find_network(request.network or "", credentials=credentials)
        check_attachable(network, request)
        groups = await tools.network.find_security_groups(
            request.security_groups, project_id=request.project_id, credentials=credentials
        )
    created = now()
    runtime = Runtime(
        disk_name=_disk_name(request, server_id),
        port_given=request.port_id is not None,
        network_name=network.name,
        fixed_ip_wanted=request.fixed_ip,
        security_groups=[group.id for group in groups],
    )
    return Server(
        id=server_id, name=request.name, project_id=request.project_id, status=Status.BUILD,
        image=request.image, network_id=network.id, port_id=request.port_id, memory_mb=memory_mb,
        disk_bytes=disk_bytes, runtime=runtime, created_at=created, updated_at=created,
    )  # fmt: skip


def check_attachable(network: Network, request: BootRequest) -> None:
    """Raises InvalidRequest if whoever asks can see the network, but may not have such a port in it.

    The port is made with the service's own rights, so what the API would not let its owner do is refused here.
    """
    if request.credentials is None or network.project_id == request.project_id:
        return
    name = network.name or network.id
    if network.external and not network.shared:
        raise InvalidRequest(f"network {name} is external, and not {request.project_id}'s to use")
    if request.fixed_ip is not None:
        raise InvalidRequest(f"fixed_ip {request.fixed_ip}: only the owner of network {name} chooses addresses in it")


def check_usable(port: Port, request: BootRequest) -> None:
    """Raises InvalidRequest if whoever asks can see the port (as the owner of its network does), but doesn't own it."""
    if request.credentials is not None and port.project_id != request.project_id:
        raise InvalidRequest(f"port {port.id} is not {request.project_id}'s to use")


def _disk_name(request: BootRequest, server_id: str) -> str:
    """No two servers of different projects have the same, and none tells what others' servers are called."""
    return f"{request.name}-disk" if request.plain_disk_name else f"{request.name}-disk-{server_id[:8]}"


async def _disk_size(request: BootRequest, disks: DiskService) -> int:
    smallest = DISK_BYTES_MIN
    if request.image is not None:
        try:
            smallest = (await disks.info(IMAGE_POOL, request.image)).size_bytes
        except CoveError as error:
            raise InvalidRequest(f"no image {request.image!r}: `cove image list` shows what there is") from error
    wanted = max(smallest, DISK_BYTES_DEFAULT) if request.disk_bytes is None else request.disk_bytes
    if not smallest <= wanted <= DISK_BYTES_MAX or wanted % SECTOR_BYTES:
        what = f"image {request.image}" if request.image is not None and smallest > DISK_BYTES_MIN else "a disk"
        raise InvalidRequest(
            f"disk of {wanted} bytes: {what} takes {smallest} to {DISK_BYTES_MAX}, in multiples of {SECTOR_BYTES}"
        )
    return wanted
