"""What a request for a server may say, and the record that it becomes.

Everything is looked at before anything is made: names, sizes, the image, the network or port.
"""

from __future__ import annotations

import uuid

import msgspec

from cove.compute import qemu
from cove.compute.boot import Toolbox, micro_guest
from cove.compute.disks import DISK_BYTES_MAX, DISK_BYTES_MIN, IMAGE_POOL, SECTOR_BYTES, DiskService
from cove.compute.guest import GuestBuildError
from cove.compute.models import Runtime, Server, Status, now
from cove.compute.network_api import check_binding
from cove.errors import CoveError

DISK_BYTES_DEFAULT = 256 << 20
MEMORY_MB_DEFAULT = 128
MEMORY_MB_IMAGE_DEFAULT = 512
SERVERS_MAX = 1000


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


async def new_record(request: BootRequest, tools: Toolbox) -> Server:
    """The record of the server that is asked for, not stored yet.

    Raises InvalidRequest, ConflictingState (too many servers), or a NetworkApiError.
    """
    if not qemu.valid_name(request.name):
        raise InvalidRequest(
            f"name {request.name!r}: letters, digits, dots and dashes, at most 63: it becomes a host name"
        )
    if (request.network is None) == (request.port_id is None):
        raise InvalidRequest("networks: one network or one port is wanted")
    if len(await tools.records.list_all()) >= SERVERS_MAX:
        raise ConflictingState(f"there are {SERVERS_MAX} servers already: delete one")
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
    if request.port_id is not None:
        if request.fixed_ip is not None:
            raise InvalidRequest("fixed_ip: a port has its address already; give a network to choose one")
        port = await tools.network.show_port(request.port_id)
        check_binding(port, server_id)
        network = await tools.network.find_network(port.network_id)
    else:
        network = await tools.network.find_network(request.network or "")
    created = now()
    runtime = Runtime(
        disk_name=f"{request.name}-disk",
        port_given=request.port_id is not None,
        network_name=network.name,
        fixed_ip_wanted=request.fixed_ip,
    )
    return Server(
        id=server_id, name=request.name, project_id=request.project_id, status=Status.BUILD,
        image=request.image, network_id=network.id, port_id=request.port_id, memory_mb=memory_mb,
        disk_bytes=disk_bytes, runtime=runtime, created_at=created, updated_at=created,
    )  # fmt: skip


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
