"""ceph.conf: which options are in force for an entity, and what a client needs of them, as one typed value.

An option comes from the environment (`CEPH_ARGS`, `CEPH_KEYRING`), else from the file's sections in the order
[client.admin], [client], [global], else it has Ceph's default. `$name`, `${run_dir}` and the like are replaced.
Files are read here, at once and blocking: they are small. Host names are left to the caller to resolve.

Source: Ceph's doc/rados/configuration/ceph-conf, common/options (names and defaults); compared with `ceph-conf`.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

from ..wire.auth import AuthMethod, ConnectionMode
from ..wire.cephx.keys import CryptoKey
from ..wire.types import EntityType
from .confargs import Arguments, parse_arguments
from .conffile import Setting, option_name, parse_settings, read_text
from .errors import InvalidArgument, ObjectNotFound, PermissionDenied
from .keyring import Keyring, parse_key
from .monhosts import MonHost, parse_mon_host

DEFAULT_NAME = "client.admin"
_ARGUMENTS = "the arguments given"
DEFAULT_PATHS = ("/etc/ceph/$cluster.conf", "$home/.ceph/$cluster.conf", "$cluster.conf")

_CLIENT_KEYRINGS = "/etc/ceph/$cluster.$name.keyring,/etc/ceph/$cluster.keyring,/etc/ceph/keyring,/etc/ceph/keyring.bin"
_DAEMON_KEYRINGS = "/var/lib/ceph/$type/$cluster-$id/keyring"
_DEFAULTS: Final = {
    "run_dir": "/var/run/ceph",
    "auth_client_required": "cephx, none",
    "ms_client_mode": "crc secure",
    "ms_mon_client_mode": "secure crc",
    "client_mount_timeout": "30",
    "objecter_inflight_ops": "1024",
    "objecter_inflight_op_bytes": "100M",
}
"""Ceph's own, but for client_mount_timeout: 300 s are too long to learn that the cluster is away."""

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))")
_EXPANSIONS_MAX = 1000
_DEPTH_MAX = 40
_VALUE_CHARACTERS_MAX = 1 << 20
_SUFFIXES = {"": 1, "B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SECONDS = {"": 1.0, "s": 1.0, "sec": 1.0, "ms": 1e-3, "m": 60.0, "min": 60.0, "h": 3600.0, "hr": 3600.0}


@dataclass(frozen=True, slots=True)
class ClusterConf:
    """What a client must know to connect as `name`. Times in seconds, `None` where nothing is configured."""

    name: str
    cluster: str
    source: str
    """The file, or what stood in for one; for messages."""
    mon_hosts: tuple[MonHost, ...]
    auth_client_required: tuple[AuthMethod, ...]
    """Methods in order of preference."""
    ms_client_mode: tuple[ConnectionMode, ...]
    """Towards OSDs, the best first."""
    ms_mon_client_mode: tuple[ConnectionMode, ...]
    """Towards monitors and managers."""
    client_mount_timeout_s: float
    rados_osd_op_timeout_s: float | None
    rados_mon_op_timeout_s: float | None
    objecter_inflight_ops: int
    objecter_inflight_op_bytes: int
    fsid: UUID | None
    options: dict[str, str] = field(repr=False)
    """Everything that is set, expanded, by normalized name. It may hold a key: not for logs."""
    keyring_paths: tuple[str, ...] = ()
    key_place: str = "option key"
    """Where the option `key` stands; for messages."""

    def load_key(self) -> CryptoKey:
        """The entity's key: option `key`, else the file `keyfile`, else the first keyring that can be read.

        Raises ObjectNotFound if there is none (naming what was tried), PermissionDenied, InvalidArgument.
        """
        if text := self.options.get("key"):
            return parse_key(text, self.key_place)
        if path := self.options.get("keyfile"):
            return parse_key(read_text(path, "keyfile"), f"keyfile {path!r}")
        denied: PermissionDenied | None = None
        for path in self.keyring_paths:
            try:
                ring = Keyring.load(path)
            except ObjectNotFound:
                continue
            except PermissionDenied as error:
                denied = denied or error
            else:
                return ring.key_of(self.name)
        raise denied or ObjectNotFound(
            f"no keyring found for {self.name} (tried {', '.join(self.keyring_paths)}); "
            "set `keyring` in ceph.conf, or CEPH_KEYRING, or give a key"
        )

    def credentials(self) -> tuple[tuple[AuthMethod, ...], CryptoKey | None]:
        """The methods to try, and the key for cephx. Without a keyring, cephx drops out where `none` is allowed too.

        Raises as `load_key` if cephx is the only method.
        """
        methods = self.auth_client_required
        if AuthMethod.CEPHX not in methods:
            return methods, None
        try:
            return methods, self.load_key()
        except ObjectNotFound:
            if methods == (AuthMethod.CEPHX,):
                raise
            return tuple(method for method in methods if method != AuthMethod.CEPHX), None

    @property
    def mon_addresses(self) -> tuple[str, ...]:
        """Those of the monitors whose address is known without a resolver, e.g. `v2:10.0.0.1:3300/0`."""
        return tuple(str(host.address) for host in self.mon_hosts if host.address is not None)


def load_conf(
    conf: str | os.PathLike[str] | Mapping[str, object] | None = None,
    name: str | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    keyring: str | os.PathLike[str] | None = None,
    key: str | None = None,
) -> ClusterConf:
    """The configuration of a client.

    `conf`: a file; or options as a mapping, then neither a file nor the environment is looked at; or None: the file
    of CEPH_ARGS (`-c`), of CEPH_CONF, else the first of `DEFAULT_PATHS` that exists. `name`: e.g. `client.admin`, by
    default that of CEPH_ARGS, else client.admin. `keyring` (a path) or `key` (base64) go before all else.

    Raises ObjectNotFound for a file that is not there, PermissionDenied for one that is not readable, InvalidArgument
    for anything malformed, saying where it stands. Whether there is a key shows when it is asked for.
    """
    environ = os.environ if environ is None else environ
    explicit = {} if keyring is None else {"keyring": str(keyring), "key": "", "keyfile": ""}
    if key is not None:
        explicit["key"] = key
    if isinstance(conf, Mapping):
        given = {option_name(key): _text(value) for key, value in conf.items() if value is not None}
        cluster, given_by = given.pop("cluster", "ceph"), "the options given"
        origins = dict.fromkeys(given, given_by) | dict.fromkeys(explicit, _ARGUMENTS)
        return _Resolver(name or DEFAULT_NAME, cluster, given_by, given | explicit, [], environ, origins).result()
    arguments = parse_arguments(environ.get("CEPH_ARGS", ""))
    chosen = name or arguments.name or DEFAULT_NAME
    path, tried = _find_file(conf, arguments, environ)
    settings = [] if path is None else parse_settings(read_text(path, "configuration file"), str(path))
    keyrings = {"keyring": environ["CEPH_KEYRING"]} if "CEPH_KEYRING" in environ else {}
    overrides = keyrings | arguments.options | explicit
    origins = (
        dict.fromkeys(keyrings, "CEPH_KEYRING")
        | dict.fromkeys(arguments.options, "CEPH_ARGS")
        | dict.fromkeys(explicit, _ARGUMENTS)
    )
    source = str(path) if path is not None else f"no ceph.conf found (tried {', '.join(tried)})"
    return _Resolver(chosen, _cluster_name(path, arguments), source, overrides, settings, environ, origins).result()


def _text(value: object) -> str:
    """An option given by a program: lists are comma lists."""
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _find_file(
    conf: str | os.PathLike[str] | None, arguments: Arguments, environ: Mapping[str, str]
) -> tuple[str | os.PathLike[str] | None, list[str]]:
    """The file to read, or None and what was looked for. One that was named must exist: reading it will tell."""
    if conf is not None:
        return conf, []
    named = arguments.conf or environ.get("CEPH_CONF")
    cluster, home = arguments.cluster or "ceph", environ.get("HOME") or os.path.expanduser("~")
    paths = [item.strip() for item in re.split("[,;]", named)] if named else list(DEFAULT_PATHS)
    paths = [item.replace("$cluster", cluster).replace("$home", home) for item in paths if item]
    for path in paths:
        if os.path.exists(path):
            return path, paths
    return (paths[0] if named and paths else None), paths


def _cluster_name(path: str | os.PathLike[str] | None, arguments: Arguments) -> str:
    """As Ceph: the name of the file tells, unless the command line does."""
    if arguments.cluster:
        return arguments.cluster
    stem, dot, _ = Path(path).name.partition(".conf") if path is not None else ("", "", "")
    return stem if stem and dot else "ceph"


class _Resolver:
    """Looks options up in overrides and sections, and expands them."""

    def __init__(
        self,
        name: str,
        cluster: str,
        source: str,
        overrides: dict[str, str],
        settings: list[Setting],
        environ: Mapping[str, str],
        origins: Mapping[str, str],
    ) -> None:
        """`origins` says for messages where each of the overrides comes from."""
        kind, dot, identity = name.partition(".")
        if not dot or kind.upper() not in EntityType.__members__:
            raise InvalidArgument(f"{name!r} is no name of an entity; write TYPE.ID, e.g. client.admin")
        self.name, self.cluster, self.source = name, cluster, source
        self._overrides = overrides
        self._origins = origins
        self._settings = settings
        self._found: dict[str, Setting] = {}
        order = {"global": 0, kind: 1, name: 2}
        for setting in sorted(
            (item for item in settings if item.section in order), key=lambda item: order[item.section]
        ):
            self._found[setting.name] = setting
        self._variables: dict[str, Callable[[], str]] = {
            "cluster": lambda: cluster,
            "type": lambda: kind,
            "name": lambda: name,
            "id": lambda: identity,
            "num": lambda: identity,
            "host": lambda: socket.gethostname().partition(".")[0],
            "pid": lambda: str(os.getpid()),
            "cctid": lambda: str(id(self)),
            "home": lambda: environ.get("HOME") or os.path.expanduser("~"),
        }
        self._expansions = 0

    # -- options as text

    def _raw(self, name: str) -> str | None:
        if name in self._overrides:
            return self._overrides[name]
        setting = self._found.get(name)
        return _DEFAULTS.get(name) if setting is None else setting.value

    def place(self, name: str) -> str:
        """Where an option was set, for messages."""
        if name in self._overrides:
            return f"{self._origins[name]}, option {name}"
        setting = self._found.get(name)
        return f"option {name}" if setting is None else f"{setting.place}, option {name}"

    def get(self, name: str) -> str | None:
        """An option's expanded value; None if it is not set and has no default."""
        raw = self._raw(name)
        return None if raw is None else self.expand(raw, name)

    def expand(self, text: str, name: str) -> str:
        """The value of option `name` with its variables replaced. Raises InvalidArgument if there is no end of it."""
        self._expansions = 0
        return self._expand(text, (name,))

    def _expand(self, text: str, inside: tuple[str, ...]) -> str:
        """What is unknown, or would contain itself, stays as it is written."""

        def replace(match: re.Match[str]) -> str:
            variable = match[1] or match[2]
            if variable in self._variables:
                return self._variables[variable]()
            self._expansions += 1
            if self._expansions > _EXPANSIONS_MAX or len(inside) > _DEPTH_MAX:
                raise InvalidArgument(f"{self.place(inside[0])}: too many variables within variables")
            raw = None if variable in inside else self._raw(variable)
            return match[0] if raw is None else self._expand(raw, (*inside, variable))

        characters = len(text)

        def bounded(match: re.Match[str]) -> str:
            nonlocal characters
            value = replace(match)
            characters += len(value)
            if characters > _VALUE_CHARACTERS_MAX:
                raise InvalidArgument(
                    f"{self.place(inside[0])}: longer than {_VALUE_CHARACTERS_MAX} characters when expanded"
                )
            return value

        return _VARIABLE.sub(bounded, text)

    # -- options as values

    def _words(self, name: str) -> list[str]:
        return [word for word in re.split(r"[\s,;]+", self.get(name) or "") if word]

    def _methods(self) -> tuple[AuthMethod, ...]:
        name = "auth_supported" if self.get("auth_supported") else "auth_client_required"
        known = {"cephx": AuthMethod.CEPHX, "none": AuthMethod.NONE}
        words = self._words(name)
        wrong = [word for word in words if word not in (*known, "gss")]
        found = tuple(dict.fromkeys(known[word] for word in words if word in known))
        if wrong or not found:
            raise InvalidArgument(f"{self.place(name)}: {', '.join(wrong or words) or 'nothing'}; known: cephx, none")
        return found

    def _modes(self, name: str) -> tuple[ConnectionMode, ...]:
        known = {"crc": ConnectionMode.CRC, "secure": ConnectionMode.SECURE}
        words = self._words(name)
        if not words or any(word not in known for word in words):
            raise InvalidArgument(f"{self.place(name)}: {' '.join(words) or 'nothing'}; known: crc, secure")
        return tuple(dict.fromkeys(known[word] for word in words))

    def _seconds(self, name: str) -> float | None:
        text = self.get(name)
        if text is None:
            return None
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text)
        if match is None or match[2] not in _SECONDS or len(match[1]) > 15:
            raise InvalidArgument(f"{self.place(name)}: {text!r} is no time; write seconds, e.g. 30")
        return float(match[1]) * _SECONDS[match[2]]

    def _size(self, name: str) -> int:
        text = self.get(name) or ""
        match = re.fullmatch(r"(\d{1,18})\s*_?([KMGTB]?)(?:iB?|B)?", text)
        if match is None or not int(match[1]):
            raise InvalidArgument(f"{self.place(name)}: {text!r} is no size; write e.g. 1024 or 100M")
        return int(match[1]) * _SUFFIXES[match[2]]

    def _fsid(self) -> UUID | None:
        text = self.get("fsid")
        if not text:
            return None
        try:
            return UUID(text)
        except ValueError:
            raise InvalidArgument(f"{self.place('fsid')}: {text!r} is no UUID") from None

    def _mon_hosts(self) -> tuple[MonHost, ...]:
        """Of mon_host, else of the [mon.X] sections' mon_addr. None at all is an error, saying where was looked."""
        text = self.get("mon_host")
        found = parse_mon_host(text, self.place("mon_host")) if text else []
        if not found:
            for setting in self._settings:
                if setting.name == "mon_addr" and setting.section.startswith("mon."):
                    value = self.expand(setting.value, "mon_addr")
                    name = setting.section.removeprefix("mon.")
                    found += parse_mon_host(value, f"{setting.place}, option mon_addr", name)
        if not found:
            raise InvalidArgument(
                f"no monitors are known: {self.source}, without a usable mon_host; "
                "set `mon_host` in ceph.conf, or give the path of the right file"
            )
        return tuple(found)

    def _keyring_paths(self) -> tuple[str, ...]:
        default = _CLIENT_KEYRINGS if self.name.startswith("client.") else _DAEMON_KEYRINGS
        text = self.get("keyring") or self.expand(default, "keyring")
        return tuple(item.strip() for item in re.split("[,;]", text) if item.strip())

    def result(self) -> ClusterConf:
        """All of it. Raises InvalidArgument."""
        names = {*self._found, *self._overrides}
        return ClusterConf(
            name=self.name,
            cluster=self.cluster,
            source=self.source,
            mon_hosts=self._mon_hosts(),
            auth_client_required=self._methods(),
            ms_client_mode=self._modes("ms_client_mode"),
            ms_mon_client_mode=self._modes("ms_mon_client_mode"),
            client_mount_timeout_s=self._seconds("client_mount_timeout") or 0.0,
            rados_osd_op_timeout_s=self._seconds("rados_osd_op_timeout"),
            rados_mon_op_timeout_s=self._seconds("rados_mon_op_timeout"),
            objecter_inflight_ops=self._size("objecter_inflight_ops"),
            objecter_inflight_op_bytes=self._size("objecter_inflight_op_bytes"),
            fsid=self._fsid(),
            options={name: value for name in sorted(names) if (value := self.get(name)) is not None},
            keyring_paths=self._keyring_paths(),
            key_place=self.place("key"),
        )
