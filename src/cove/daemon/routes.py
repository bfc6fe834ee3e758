"""The part of the API that is Cove's own: status, time lines, images and their exports, and the end of it all.

GET    /cove/v1/status                                what runs here
POST   /cove/v1/shutdown                              `cove down`
GET    /cove/v1/timelines/{id}                        the steps of an object
GET    /cove/v1/dhcp/{network id}                     what serves a network's addresses
GET    /cove/v1/pools
GET    /cove/v1/pools/{pool}/images
GET    /cove/v1/pools/{pool}/images/{image}           POST creates it, DELETE removes it
POST   /cove/v1/pools/{pool}/images/{image}/exports   serves it by NBD for as long as the request lasts
POST   /cove/v1/pools/{pool}/images/{image}/import    creates it, and serves it by NBD to be filled meanwhile
PUT    /cove/v1/pools/{pool}/images/{image}/import    it is whole: keeps it, else it is gone; DELETE gives it up
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from .. import __version__
from ..errors import CoveError
from ..rados import Error as RadosError
from .disks import BadName, DiskError, DiskInfo, NoSuchDisk, check_image_name

if TYPE_CHECKING:
    from .service import Service

BODY_BYTES_MAX = 64 << 10
EXPORT_HEARTBEAT_S = 5.0
SIZE_BYTES_MAX = 1 << 50


class BadRequest(CoveError):
    """The request names something that can't be."""


class NewImage(msgspec.Struct, forbid_unknown_fields=True):
    """Body of an image's creation."""

    size_bytes: int


class NewImport(NewImage, forbid_unknown_fields=True):
    """Body of an image's import."""


class NewExport(msgspec.Struct, forbid_unknown_fields=True):
    """Body of an export: either a unix socket's path, or a TCP port of 127.0.0.1."""

    socket: str | None = None
    port: int | None = None
    read_only: bool = False


STATUS_OF: tuple[tuple[type[Exception], int], ...] = (
    (NoSuchDisk, 404),
    (BadName, 400),
    (DiskError, 409),
    (BadRequest, 400),
)
STATUS_OF_ERRNO = {errno.ENOENT: 404, errno.EEXIST: 409, errno.EBUSY: 409, errno.EINVAL: 400, errno.ENAMETOOLONG: 400}


def respond(value: Any, status: int = 200) -> Response:
    """A JSON response."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def refuse(error: Exception) -> Response:
    """An error in this API's form."""
    default = STATUS_OF_ERRNO.get(error.errno or 0, 500) if isinstance(error, RadosError) else 500
    status = next((status for kind, status in STATUS_OF if isinstance(error, kind)), default)
    kind = type(error).__name__
    return respond({"error": {"type": kind, "code": status, "message": str(error)}}, status)


Handler = Callable[["Service", Request], Awaitable[Response]]


async def decode(request: Request, form: type[msgspec.Struct]) -> Any:
    """The request's body in the form wanted. Raises BadRequest."""
    body = await request.body()
    if len(body) > BODY_BYTES_MAX:
        raise BadRequest(f"the body has {len(body)} bytes: at most {BODY_BYTES_MAX}")
    try:
        return msgspec.json.decode(body or b"{}", type=form)
    except msgspec.MsgspecError as error:
        raise BadRequest(f"the body does not fit: {error}") from None


def image_of(service: Service, info: DiskInfo) -> dict[str, Any]:
    """An image as this API shows it."""
    shown = asdict(info)
    shown["objects"] = shown.pop("object_count")
    shown["status"] = "IMPORTING" if service.imports.is_running(info.pool, info.name) else "ACTIVE"
    return shown


def size_of(body: NewImage) -> int:
    """The size that is asked for, in bytes. Raises BadRequest."""
    if not 0 < body.size_bytes <= SIZE_BYTES_MAX:
        raise BadRequest(f"size_bytes={body.size_bytes}: give a size above 0, at most {SIZE_BYTES_MAX}")
    return body.size_bytes


async def show_status(service: Service, _request: Request) -> Response:
    """What runs here."""
    cluster = await service.rados.cluster_stat()
    return respond(
        {
            "version": __version__,
            "pid": os.getpid(),
            "api": service.api_url,
            "state_dir": str(service.settings.state_dir),
            "host": service.settings.host,
            "database": service.settings.database_url.partition("://")[0],
            "bus": service.settings.bus_url,
            "objects": cluster.num_objects,
            "used_kib": cluster.kb_used,
        }
    )


async def shut_down(service: Service, _request: Request) -> Response:
    """End VMs, DHCP servers and the server itself."""
    service.request_stop(take_down=True)
    return respond({}, 202)


async def show_timeline(service: Service, request: Request) -> Response:
    """The steps of an object; none if it is unknown or long ago."""
    return respond({"steps": service.timeline.steps(request.path_params["id"])})


async def show_dhcp(service: Service, request: Request) -> Response:
    """What serves a network's addresses on this host; empty while nothing does."""
    return respond({"dhcp": service.agent.describe(request.path_params["id"])})


async def list_pools(service: Service, _request: Request) -> Response:
    """Names of the pools."""
    return respond({"pools": service.rados.pool_list()})


async def list_images(service: Service, request: Request) -> Response:
    """The images of a pool."""
    return respond(
        {"images": [image_of(service, info) for info in await service.disks.list(request.path_params["pool"])]}
    )


async def show_image(service: Service, request: Request) -> Response:
    """One image."""
    parameters = request.path_params
    return respond({"image": image_of(service, await service.disks.info(parameters["pool"], parameters["image"]))})


async def create_image(service: Service, request: Request) -> Response:
    """Create an empty image."""
    parameters, body = request.path_params, await decode(request, NewImage)
    check_image_name(parameters["image"])
    await service.disks.create(parameters["pool"], parameters["image"], size_of(body), source_image=None)
    info = await service.disks.info(parameters["pool"], parameters["image"])
    return respond({"image": image_of(service, info)}, 201)


async def remove_image(service: Service, request: Request) -> Response:
    """Remove an image and its data; not the disk of a server, which goes with it."""
    parameters = request.path_params
    owner = await service.compute.owner_of_disk(parameters["pool"], parameters["image"])
    if owner is not None:
        raise DiskError(
            f"{parameters['pool']}/{parameters['image']} is the disk of server {owner.name}:"
            f" `cove server delete {owner.name}` removes both"
        )
    await service.disks.remove(parameters["pool"], parameters["image"], missing_ok=False)
    return Response(status_code=204)


async def export_image(service: Service, request: Request) -> Response:
    """Serve an image by NBD; one JSON object a line: its URI, then a heartbeat. The export ends with the request."""
    pool, name = request.path_params["pool"], request.path_params["image"]
    body = await decode(request, NewExport)
    if (body.socket is None) == (body.port is None):
        raise BadRequest("give either socket or port")
    if body.socket is not None and not os.path.isabs(body.socket):
        raise BadRequest(f"socket={body.socket!r}: give an absolute path")
    if body.port is not None and not 0 <= body.port < 65536:
        raise BadRequest(f"port={body.port}: give 0 to 65535")
    server = await service.disks.new_export(pool, name, read_only=body.read_only)
    try:
        if body.socket is not None:
            await server.listen_unix(Path(body.socket))
            uri = f"nbd+unix:///{quote(name)}?socket={quote(body.socket)}"
        else:
            uri = f"nbd://127.0.0.1:{await server.listen_tcp('127.0.0.1', body.port)}/{quote(name)}"
    except (OSError, ValueError) as error:
        await service.disks.unexport(pool, name)
        raise BadRequest(f"can't listen: {error}") from None

    async def end() -> None:
        await service.disks.unexport(pool, name)

    return hold(service, uri, end)


async def import_image(service: Service, request: Request) -> Response:
    """Create an image and serve it by NBD to be filled. It is gone again with the request, unless `finish_import`."""
    pool, name = request.path_params["pool"], request.path_params["image"]
    body = await decode(request, NewImport)
    socket_path = await service.imports.begin(pool, name, size_of(body))

    async def end() -> None:
        await service.imports.abort(pool, name)

    return hold(service, f"nbd+unix:///{quote(name)}?socket={quote(str(socket_path))}", end)


async def finish_import(service: Service, request: Request) -> Response:
    """Keep an image that is being imported: its data is all there."""
    await service.imports.finish(request.path_params["pool"], request.path_params["image"])
    return Response(status_code=204)


async def abort_import(service: Service, request: Request) -> Response:
    """Give up an import: the image is removed."""
    await service.imports.abort(request.path_params["pool"], request.path_params["image"])
    return Response(status_code=204)


class Held(StreamingResponse):
    """A stream with something that must be ended with it, whether or not its first byte was ever asked for."""

    def __init__(self, content: AsyncIterator[bytes], end: Callable[[], Awaitable[None]]) -> None:
        super().__init__(content, media_type="application/x-ndjson")
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await asyncio.shield(self._end())


def hold(service: Service, uri: str, end: Callable[[], Awaitable[None]]) -> Response:
    """One JSON object a line: the URI, then a heartbeat for as long as the client listens; `end` after that."""

    async def events() -> AsyncIterator[bytes]:
        yield msgspec.json.encode({"uri": uri}) + b"\n"
        while not service.stop_requested.is_set():
            try:
                async with asyncio.timeout(EXPORT_HEARTBEAT_S):
                    await service.stop_requested.wait()
            except TimeoutError:
                yield b"{}\n"
        yield msgspec.json.encode({"error": "the server is stopping"}) + b"\n"

    return Held(events(), end)


IMAGE = "/cove/v1/pools/{pool}/images/{image}"
ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/cove/v1/status", show_status),
    ("POST", "/cove/v1/shutdown", shut_down),
    ("GET", "/cove/v1/timelines/{id}", show_timeline),
    ("GET", "/cove/v1/dhcp/{id}", show_dhcp),
    ("GET", "/cove/v1/pools", list_pools),
    ("GET", "/cove/v1/pools/{pool}/images", list_images),
    ("GET", IMAGE, show_image),
    ("POST", IMAGE, create_image),
    ("DELETE", IMAGE, remove_image),
    ("POST", f"{IMAGE}/exports", export_image),
    ("POST", f"{IMAGE}/import", import_image),
    ("PUT", f"{IMAGE}/import", finish_import),
    ("DELETE", f"{IMAGE}/import", abort_import),
)


def cove_routes(service: Service) -> list[BaseRoute]:
    """The routes, bound to a service."""

    def bind(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                return await handler(service, request)
            except (CoveError, RadosError) as error:
                return refuse(error)

        return endpoint

    return [Route(path, bind(handler), methods=[method]) for method, path, handler in ROUTES]
