"""`/v2.1/servers`: the part of OpenStack's Compute API that Cove has, in its JSON and error forms.

What that API has no word for is under `cove:` keys. Source: OpenStack's Compute API reference, v2.1.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cove.compute import qemu
from cove.compute.models import NameInUse, Server, ServerNotFound, Status, TaskState, TooManyServers
from cove.compute.network_api import (
    FixedIpAlreadyInUse,
    NetworkAmbiguous,
    NetworkApiError,
    NetworkNotFound,
    NoMoreFixedIps,
    PortInUse,
    PortLimitExceeded,
    PortNotFound,
    PortNotFree,
    SecurityGroupNotFound,
)
from cove.compute.servers import BootRequest, ComputeService, ConflictingState, InvalidRequest
from cove.compute.steps import UndoError
from cove.errors import CoveError

log = structlog.get_logger(__name__)

CONSOLE_LINES_MAX = 100_000
ACTIONS = ("os-start", "os-stop", "os-getConsoleOutput")
# Headers of a request that say who asks.
CREDENTIALS = ("x-auth-token", "x-project-id")


class Forbidden(CoveError):
    """Whoever asks may not do that."""


class Caller(Protocol):
    """Who asks, as whoever let the request in has left it in scope["cove.context"]."""

    @property
    def project_id(self) -> str:
        """The project that the caller works in."""
        ...

    @property
    def is_admin(self) -> bool:
        """Whether the caller is an administrator of the whole."""
        ...

    @property
    def roles(self) -> frozenset[str]:
        """The caller's roles in the project."""
        ...


# Members of a POST's "server" that are used, and those that clients always send and that change nothing here.
MEMBERS = frozenset({"name", "networks", "imageRef", "security_groups", "cove:disk_bytes", "cove:memory_mb"})
MEMBERS_IGNORED = frozenset({"flavorRef", "min_count", "max_count", "OS-DCF:diskConfig", "config_drive", "metadata"})

# First match decides: exception → HTTP status and the error form's member.
ERRORS: tuple[tuple[type[Exception], int, str], ...] = (
    (ServerNotFound, 404, "itemNotFound"),
    (InvalidRequest, 400, "badRequest"),
    (Forbidden, 403, "forbidden"),
    (NetworkNotFound, 400, "badRequest"),
    (NetworkAmbiguous, 409, "conflictingRequest"),
    (PortNotFound, 400, "badRequest"),
    (SecurityGroupNotFound, 400, "badRequest"),
    (FixedIpAlreadyInUse, 400, "badRequest"),
    (NoMoreFixedIps, 400, "badRequest"),
    (PortLimitExceeded, 403, "forbidden"),
    (PortInUse, 409, "conflictingRequest"),
    (PortNotFree, 409, "conflictingRequest"),
    (NameInUse, 409, "conflictingRequest"),
    (TooManyServers, 403, "forbidden"),
    (ConflictingState, 409, "conflictingRequest"),
    (UndoError, 500, "computeFault"),
    (NetworkApiError, 500, "computeFault"),
    (CoveError, 500, "computeFault"),
)
# Nova's words: status → power state (1 running, 4 shut down, 0 none), vm state.
STATES: dict[Status, tuple[int, str]] = {
    Status.BUILD: (0, "building"),
    Status.ACTIVE: (1, "active"),
    Status.SHUTOFF: (4, "stopped"),
    Status.ERROR: (0, "error"),
}

Handler = Callable[[Request], Awaitable[Response]]


def _json(body: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def _error(status: int, member: str, message: str) -> Response:
    return _json({member: {"code": status, "message": message}}, status)


def _errors_in_form(handler: Handler) -> Handler:
    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except CoveError as error:
            for kind, status, member in ERRORS:
                if isinstance(error, kind):
                    if status == 500:
                        log.error("compute.api", path=request.url.path, error=str(error))
                    return _error(status, member, str(error))
            raise

    return handle


def server_form(server: Server, task_state: TaskState | None, paths: Any, base_url: str) -> dict[str, Any]:
    """A server as GET shows it; `paths` of its console on this host are None for whoever has no business there."""
    runtime = server.runtime
    power, vm_state = STATES[server.status]
    addresses = [
        {
            "version": 6 if ":" in fixed.ip_address else 4,
            "addr": fixed.ip_address,
            "OS-EXT-IPS:type": "fixed",
            "OS-EXT-IPS-MAC:mac_addr": runtime.mac_address,
        }
        for fixed in runtime.fixed_ips
    ]
    form: dict[str, Any] = {
        "id": server.id,
        "name": server.name,
        "status": server.status.value,
        "tenant_id": server.project_id,
        "created": server.created_at,
        "updated": server.updated_at,
        "image": {"id": server.image} if server.image else "",
        "flavor": {"original_name": "cove", "vcpus": 1, "ram": server.memory_mb, "disk": server.disk_bytes >> 30},
        "addresses": {runtime.network_name or server.network_id: addresses} if addresses else {},
        "accessIPv4": "",
        "accessIPv6": "",
        "metadata": {},
        "key_name": None,
        "config_drive": "",
        "progress": 100 if server.status is Status.ACTIVE else 0,
        "OS-EXT-STS:power_state": power,
        "OS-EXT-STS:vm_state": vm_state,
        "OS-EXT-STS:task_state": task_state,
        "OS-SRV-USG:launched_at": runtime.launched_at,
        "links": _links(server, base_url),
        "cove:network_id": server.network_id,
        "cove:port_id": server.port_id,
        "cove:mac_address": runtime.mac_address,
        "cove:memory_mb": server.memory_mb,
        "cove:disk": {"pool": runtime.disk_pool, "name": runtime.disk_name, "size_bytes": server.disk_bytes},
    }
    if paths is not None:
        form |= {"cove:console_socket": str(paths.serial_socket), "cove:console_log": str(paths.console_log)}
    if runtime.fault is not None:
        form["fault"] = msgspec.structs.asdict(runtime.fault)
    return form


def _links(server: Server, base_url: str) -> list[dict[str, str]]:
    return [{"rel": "self", "href": f"{base_url}v2.1/servers/{server.id}"}]


def _expect(value: Any, kind: type, field: str, wanted: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InvalidRequest(f"{field} {value!r}: {wanted} is wanted")
    return value


def parse_boot(body: Any, project_id: str, credentials: dict[str, str] | None = None) -> BootRequest:
    """The request in a POST's body; what it names is looked up with the credentials. Raises InvalidRequest."""
    server = _expect(_expect(body, dict, "the body", "an object").get("server"), dict, "server", "an object")
    unknown = set(server) - MEMBERS - MEMBERS_IGNORED
    if unknown:
        raise InvalidRequest(
            f"server: unknown member {', '.join(sorted(unknown))}; known: {', '.join(sorted(MEMBERS))}"
        )
    if any(server.get(count, 1) != 1 for count in ("min_count", "max_count")):
        raise InvalidRequest("min_count, max_count: one server at a time")
    networks = _expect(server.get("networks"), list, "networks", "a list with one network or port")
    if len(networks) != 1:
        raise InvalidRequest(f"networks: {len(networks)} given, one is wanted")
    wish = _expect(networks[0], dict, "networks[0]", "an object")
    if not wish or set(wish) - {"uuid", "port", "fixed_ip"}:
        raise InvalidRequest(f"networks[0] {wish!r}: uuid (perhaps with fixed_ip) or port is wanted")

    def optional(source: Mapping[str, Any], key: str, kind: type, wanted: str) -> Any:
        value = source.get(key)
        return None if value is None else _expect(value, kind, key, wanted)

    return BootRequest(
        name=_expect(server.get("name"), str, "name", "a name"),
        project_id=project_id,
        network=optional(wish, "uuid", str, "a network's id or name"),
        port_id=optional(wish, "port", str, "a port's id"),
        fixed_ip=optional(wish, "fixed_ip", str, "an IP address"),
        image=optional(server, "imageRef", str, "an image's name") or None,
        disk_bytes=optional(server, "cove:disk_bytes", int, "a number of bytes"),
        memory_mb=optional(server, "cove:memory_mb", int, "a number of MiB"),
        security_groups=_security_groups(server.get("security_groups")),
        credentials=credentials,
    )


def _security_groups(value: Any) -> tuple[str, ...]:
    """Names or ids, in the API's form [{"name": ...}]."""
    names = []
    for item in _expect(value or [], list, "security_groups", "a list"):
        group = _expect(item, dict, "security_groups", 'a list of {"name": ...}')
        names.append(_expect(group.get("name"), str, "security_groups name", "a name or an id"))
    return tuple(names)


def name_matches(pattern: str, name: str) -> bool:
    """The `name` filter: a part of the name, with ^ and $ as anchors (of the API's expressions, what clients send)."""
    start, end = pattern.startswith("^"), pattern.endswith("$")
    text = pattern.removeprefix("^").removesuffix("$").replace("\\", "")
    if start and end:
        return name == text
    if start or end:
        return name.startswith(text) if start else name.endswith(text)
    return text in name


def _console_lines(arguments: Any) -> int | None:
    """How many lines of the console are asked for; None: all. Clients send a number, or a number as text."""
    lines = _expect(arguments or {}, dict, "os-getConsoleOutput", "an object").get("length")
    if isinstance(lines, str) and lines.isascii() and lines.isdigit():
        lines = int(lines[:9])
    if lines is None or lines == -1:
        return None
    if not 0 <= _expect(lines, int, "length", "a number") <= CONSOLE_LINES_MAX:
        raise InvalidRequest(f"length {lines}: 0 to {CONSOLE_LINES_MAX} is wanted")
    return int(lines)


async def _body(request: Request) -> Any:
    try:
        return msgspec.json.decode(await request.body())
    except msgspec.MsgspecError as error:
        raise InvalidRequest(f"the body is no JSON: {error}") from None


def _id(request: Request) -> str:
    server_id = str(request.path_params["server_id"])
    if not qemu.valid_id(server_id):
        raise ServerNotFound(f"Instance {server_id[:64]} could not be found.")
    return server_id


def _caller(request: Request) -> Caller:
    """Who asks. A request of which nobody has found that out gets no answer here (KeyError)."""
    caller: Caller = request.scope["cove.context"]
    return caller


def _credentials(request: Request) -> dict[str, str] | None:
    """The headers with which to look things up as the caller; None for an administrator, who sees all anyway."""
    if _caller(request).is_admin:
        return None
    return {name: request.headers[name] for name in CREDENTIALS if name in request.headers}


def _check_member(request: Request) -> None:
    """Raises Forbidden for a caller who may only look."""
    caller = _caller(request)
    if not caller.is_admin and "member" not in caller.roles:
        raise Forbidden("this takes the role member in the project, or an administrator")


def _project(request: Request) -> str:
    """The project that a new server is to belong to. Raises Forbidden for a caller who works in none."""
    project_id = _caller(request).project_id
    if not project_id:
        raise Forbidden("a server belongs to a project: this takes a token that is scoped to one")
    return project_id


def _wants_all(request: Request) -> bool:
    """Whether the servers of all projects are asked for. Raises Forbidden unless by an administrator."""
    if request.query_params.get("all_tenants", "0").lower() in ("0", "false", "f", "no"):
        return False
    if not _caller(request).is_admin:
        raise Forbidden("all_tenants: only an administrator sees other projects' servers")
    return True


def server_routes(service: Callable[[], ComputeService], *, project_id: str) -> list[BaseRoute]:
    """The routes. `service` is asked at each request, so that the application may be made before the service is.

    Whose servers a request is about says its scope["cove.context"]. Others' servers are not there for whoever is no
    administrator. `project_id` is the project of the machine's own user, whose disks are called after servers alone.
    """

    async def visible(request: Request) -> Server:
        server = await service().show(_id(request))
        caller = _caller(request)
        if not caller.is_admin and server.project_id != caller.project_id:
            raise ServerNotFound(f"server {server.id} could not be found")
        return server

    def form(server: Server, request: Request) -> dict[str, Any]:
        compute = service()
        paths = compute.paths(server.id) if _caller(request).is_admin else None
        return server_form(server, compute.task_state(server), paths, str(request.base_url))

    async def index(request: Request) -> Response:
        found = await _matching(request)
        short = [{"id": s.id, "name": s.name, "links": _links(s, str(request.base_url))} for s in found]
        return _json({"servers": short})

    async def detail(request: Request) -> Response:
        return _json({"servers": [form(server, request) for server in await _matching(request)]})

    async def _matching(request: Request) -> list[Server]:
        pattern = request.query_params.get("name", "")
        status = request.query_params.get("status", "").upper()
        found = await service().list(project_id=None if _wants_all(request) else _caller(request).project_id)
        return [s for s in found if name_matches(pattern, s.name) and status in ("", s.status.value)]

    async def create(request: Request) -> Response:
        _check_member(request)
        wanted = parse_boot(await _body(request), _project(request), _credentials(request))
        wanted = msgspec.structs.replace(wanted, plain_disk_name=wanted.project_id == project_id)
        server = await service().boot(wanted)
        base_url = str(request.base_url)
        created = {"id": server.id, "links": _links(server, base_url), "OS-DCF:diskConfig": "MANUAL"}
        answer = _json({"server": created}, 202)
        answer.headers["Location"] = f"{base_url}v2.1/servers/{server.id}"
        return answer

    async def show(request: Request) -> Response:
        return _json({"server": form(await visible(request), request)})

    async def delete(request: Request) -> Response:
        server = await visible(request)
        _check_member(request)
        await service().delete(server.id)
        return Response(status_code=204)

    async def action(request: Request) -> Response:
        body = _expect(await _body(request), dict, "the body", "an object with one action")
        if len(body) != 1:
            raise InvalidRequest(f"{len(body)} actions given, one is wanted")
        [(name, arguments)] = body.items()
        if name not in ACTIONS:
            raise InvalidRequest(f"action {name!r}: {' or '.join(ACTIONS)} is wanted")
        lines = _console_lines(arguments) if name == "os-getConsoleOutput" else None
        server = await visible(request)
        _check_member(request)
        if name == "os-getConsoleOutput":
            return _json({"output": await service().console_output(server.id, lines=lines)})
        await (service().start_server if name == "os-start" else service().stop_server)(server.id)
        return Response(status_code=202)

    base = "/v2.1/servers"
    one = f"{base}/{{server_id}}"
    return [
        Route(base, _errors_in_form(index), methods=["GET"]),
        Route(base, _errors_in_form(create), methods=["POST"]),
        Route(f"{base}/detail", _errors_in_form(detail), methods=["GET"]),
        Route(one, _errors_in_form(show), methods=["GET"]),
        Route(one, _errors_in_form(delete), methods=["DELETE"]),
        Route(f"{one}/action", _errors_in_form(action), methods=["POST"]),
    ]
