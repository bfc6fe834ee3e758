"""Monitors by DNS: where neither mon_host nor a monitor's section says where they are, SRV records may.

    mon_dns_srv_name = ceph-mon                _ceph-mon._tcp in the search domains of this host
    mon_dns_srv_name = ceph-mon_example.com    _ceph-mon._tcp.example.com

Priority and weight of the records decide which monitor is tried first. The name servers are those of
/etc/resolv.conf, asked by UDP, and by TCP where an answer is too long for that. Everything has a time-out.

Source: Ceph's doc/rados/configuration/mon-lookup-dns, common/dns_resolve; RFC 2782; resolv.conf(5).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from ..wire.address import EntityAddr
from ..wire.errors import PeerError, UsageError
from .dns_message import Answer, RecordType, Response, decode_response, encode_query, folded
from .errors import InvalidArgument
from .monhosts import MSGR1_PORT, is_ip
from .monhunt import Monitor

log = structlog.get_logger(__name__)

RESOLV_CONF = Path("/etc/resolv.conf")
SERVERS_MAX = 3
DOMAINS_MAX = 6
TARGETS_MAX = 64
ALIASES_MAX = 8
RESOLV_CONF_BYTES_MAX = 65536
NO_ERROR, NO_SUCH_NAME = 0, 3


@dataclass(frozen=True, slots=True)
class DnsConf:
    """Whom to ask, and how patiently: each server `attempts` times, for `timeout_s` each time."""

    servers: tuple[tuple[str, int], ...] = (("127.0.0.1", 53),)
    domains: tuple[str, ...] = ()
    timeout_s: float = 2.0
    attempts: int = 2

    @classmethod
    def load(cls, path: Path = RESOLV_CONF) -> DnsConf:
        """From a resolv.conf; one that can't be read is as an empty one."""
        try:
            with path.open("rb") as file:
                text = file.read(RESOLV_CONF_BYTES_MAX).decode("utf-8", "replace")
        except OSError:
            return cls()
        servers: list[tuple[str, int]] = []
        domains: list[str] = []
        for line in text.splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver" and is_ip(words[1]):
                servers.append((words[1], 53))
            elif len(words) > 1 and words[0] in ("search", "domain"):
                domains = [word.strip(".") for word in words[1:] if word.strip(".")]
        found = cls(domains=tuple(domains[:DOMAINS_MAX]))
        return cls(tuple(servers[:SERVERS_MAX]), found.domains) if servers else found


async def monitors_by_dns(service: str, source: str, conf: DnsConf | None = None) -> Sequence[Monitor]:
    """The monitors that DNS has for a service. `source` says in errors where the configuration came from.

    Raises InvalidArgument if there are none.
    """
    failures: list[str] = []
    found = await Lookup(conf or DnsConf.load(), failures).monitors(service) if service else []
    if not found:
        asked = f" (DNS: {'; '.join(failures)})" if failures else ""
        raise InvalidArgument(
            f"no monitors are known: {source}, without a usable mon_host{asked}; "
            "set `mon_host` in ceph.conf, or give the path of the right file"
        )
    return found


def _records_of(name: str, records: Sequence[Answer], kind: RecordType) -> list[Answer]:
    """Those of a name, or of what it is an alias for. Answers have records of others, too: those of name servers."""
    names = {folded(name)}
    for _ in range(ALIASES_MAX):
        aliases = (record for record in records if record.type == RecordType.CNAME and folded(record.name) in names)
        names.update([folded(record.value) for record in aliases])
    return [record for record in records if record.type == kind and folded(record.name) in names]


class Lookup:
    """One search for monitors. `failures` collects for the user what was asked in vain."""

    def __init__(self, conf: DnsConf, failures: list[str]) -> None:
        self._conf = conf
        self._failures = failures

    async def monitors(self, service: str) -> list[Monitor]:
        """Those of the first domain that has any."""
        name, underscore, domain = service.partition("_")
        domains = (domain,) if underscore and domain else (*self._conf.domains, "")
        for suffix in domains:
            question = f"_{name}._tcp.{suffix}".rstrip(".")
            response = await self._ask(question, RecordType.SRV)
            records = () if response is None else response.records
            services = _records_of(question, records, RecordType.SRV)
            if not services:
                continue
            answers = await asyncio.gather(
                *(self._monitors_of(record, records, suffix) for record in services[:TARGETS_MAX])
            )
            found = [monitor for group in answers for monitor in group]
            if found:
                return found
        return []

    async def _monitors_of(self, record: Answer, records: Sequence[Answer], domain: str) -> list[Monitor]:
        target = record.value.rstrip(".")
        if not target:
            return []  # "decidedly not available at this domain"
        if record.port == MSGR1_PORT:
            self._failures.append(f"{target} speaks only the old protocol msgr1 at port {MSGR1_PORT}")
            return []
        name = target[: -len(domain) - 1] if domain and target.lower().endswith("." + domain.lower()) else target
        kinds = (RecordType.A, RecordType.AAAA)
        ips = [item.value for kind in kinds for item in _records_of(target, records, kind)]
        found = []
        for ip in dict.fromkeys(ips or await self._addresses(target)):
            with contextlib.suppress(UsageError):
                found.append(Monitor(str(EntityAddr.of(ip, record.port)), name, record.priority, record.weight))
        return found

    async def _addresses(self, host: str) -> list[str]:
        kinds = (RecordType.A, RecordType.AAAA)
        responses = await asyncio.gather(*(self._ask(host, kind) for kind in kinds))
        found = [
            item.value
            for kind, response in zip(kinds, responses, strict=True)
            if response is not None
            for item in _records_of(host, response.records, kind)
        ]
        if not found:
            self._failures.append(f"{host} has no address")
        return found

    # asking

    async def _ask(self, name: str, kind: RecordType) -> Response | None:
        """The first answer of a server that has one; None, and why in `failures`, if there is none."""
        why = ""
        for _ in range(self._conf.attempts):
            for host, port in self._conf.servers:
                try:
                    response = await self._exchange(host, port, name, kind)
                except UsageError as problem:
                    self._failures.append(str(problem))
                    return None
                except TimeoutError:
                    why = f"no answer of {host} within {self._conf.timeout_s:g} s"
                except (OSError, PeerError) as problem:
                    why = f"{host}: {problem}"
                else:
                    if response.rcode == NO_ERROR:
                        return response
                    if response.rcode == NO_SUCH_NAME:
                        self._failures.append(f"{name}: no such name")
                        return None
                    why = f"{host} answers with error {response.rcode}"
        self._failures.append(f"{name}: {why or 'no name server is known'}")
        return None

    async def _exchange(self, host: str, port: int, name: str, kind: RecordType) -> Response:
        """Ask one server. Raises OSError, TimeoutError, PeerError, UsageError."""
        number = secrets.randbits(16)
        query = encode_query(number, name, kind)
        async with asyncio.timeout(self._conf.timeout_s):
            response = await _by_udp(host, port, query, number, name, kind)
            return await _by_tcp(host, port, query, number, name, kind) if response.truncated else response


class _Datagram(asyncio.DatagramProtocol):
    """Waits for the answer to one question; anything else that comes is dropped."""

    def __init__(self, number: int, name: str, kind: RecordType) -> None:
        self._question = (number, name, kind)
        self.answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Take it, if it is ours."""
        try:
            response = decode_response(data, *self._question)
        except PeerError as problem:
            log.debug("dns_answer_dropped", why=str(problem))
            return
        if not self.answer.done():
            self.answer.set_result(response)

    def error_received(self, problem: Exception) -> None:
        """Nobody listens there."""
        if not self.answer.done():
            self.answer.set_exception(problem)


async def _by_udp(host: str, port: int, query: bytes, number: int, name: str, kind: RecordType) -> Response:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: _Datagram(number, name, kind), remote_addr=(host, port)
    )
    try:
        transport.sendto(query)
        return await protocol.answer
    finally:
        transport.close()


async def _by_tcp(host: str, port: int, query: bytes, number: int, name: str, kind: RecordType) -> Response:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(len(query).to_bytes(2, "big") + query)
        length = int.from_bytes(await reader.readexactly(2), "big")
        return decode_response(await reader.readexactly(length), number, name, kind)
    except asyncio.IncompleteReadError:
        raise PeerError("the connection ended within the answer") from None
    finally:
        writer.close()
