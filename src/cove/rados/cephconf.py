"""ceph.conf: which options are in force for an entity, and what a client needs of them, as one typed value.

An option comes from the environment (`CEPH_ARGS`, `CEPH_KEYRING`), else from the file's sections in the order
[client.admin], [client], [global], else it has its default (`config_options.py`). `$name`, `${run_dir}` and the like
are replaced.
Files are read here, at once and blocking: they are small. Host names are left to the caller to resolve.

Source: Ceph's doc/rados/configuration/ceph-conf; compared with `ceph-conf`.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from ..wire.auth import AuthMethod, ConnectionMode
from ..wire.cephx.keys import CryptoKey
from ..wire.types import EntityType
from .confargs import Arguments, parse_arguments
from .conffile import Setting, option_name, parse_settings, read_text
from .config_options import OPTIONS, Value, parse_option
from .errors import InvalidArgument, ObjectNotFound, PermissionDenied
from .keyring import Keyring, parse_key
from .monhosts import MonHost, parse_mon_host

DEFAULT_NAME = "client.admin"
DEFAULT_CLUSTER = "ceph"
_ARGUMENTS = "the arguments given"
DEFAULT_PATHS = ("/etc/ceph/$cluster.conf", "$home/.ceph/$cluster.conf", "$cluster.conf")

_CLIENT_KEYRINGS = "/etc/ceph/$cluster.$name.keyring,/etc/ceph/$cluster.keyring,/etc/ceph/keyring,/etc/ceph/keyring.bin"
_DAEMON_KEYRINGS = "/var/lib/ceph/$type/$cluster-$id/keyring"

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))")
_EXPANSIONS_MAX = 1000
_DEPTH_MAX = 40
_VALUE_CHARACTERS_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class ClusterConf:
    """What a client must know to connect as `name`. Times in seconds; 0 is for ever."""

    name: str
    cluster: str
    source: str
    """The file, or what stood in for one; for messages."""
    mon_hosts: tuple[MonHost, ...]
    """Empty: ask DNS for `mon_dns_srv_name`."""
    auth_client_required: tuple[AuthMethod, ...]
    """Methods in order of preference."""
    ms_client_mode: tuple[ConnectionMode, ...]
    """Towards OSDs, the best first."""
    ms_mon_client_mode: tuple[ConnectionMode, ...]
    """Towards monitors and managers."""
    client_mount_timeout_s: float
    rados_osd_op_timeout_s: float
    rados_mon_op_timeout_s: float
    objecter_inflight_ops: int
    objecter_inflight_op_bytes: int
    fsid: UUID | None
    options: dict[str, str] = field(repr=False)
    """Everything that is set, expanded, by normalized name. It may hold a key: not for logs."""
    keyring_paths: tuple[str, ...] = ()
    mon_dns_srv_name: str = "ceph-mon"
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
    return load_sources(conf, name, environ, keyring=keyring, key=key).resolver().result()


@dataclass(slots=True)
class Sources:
    """Where the options of an entity come from. `overrides` go before `settings`, the lines of the file."""

    name: str
    cluster: str = DEFAULT_CLUSTER
    source: str = "no ceph.conf was read"
    """The file, or what stood in for one; for messages."""
    settings: list[Setting] = field(default_factory=list)
    overrides: dict[str, str] = field(default_factory=dict, repr=False)
    origins: dict[str, str] = field(default_factory=dict)
    """Where each of the overrides comes from; for messages."""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def override(self, options: Mapping[str, str], origin: str) -> None:
        """Put options before what is there."""
        self.overrides |= options
        self.origins |= dict.fromkeys(options, origin)

    def resolver(self) -> Resolver:
        """Lookup in these sources. Raises InvalidArgument for a name that is none."""
        return Resolver(self)


def load_sources(
    conf: str | os.PathLike[str] | Mapping[str, object] | None = None,
    name: str | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    keyring: str | os.PathLike[str] | None = None,
    key: str | None = None,
) -> Sources:
    """What `load_conf` looks at, before it is looked up. Raises as `load_conf`."""
    environ = os.environ if environ is None else environ
    explicit = {} if keyring is None else {"keyring": str(keyring), "key": "", "keyfile": ""}
    if key is not None:
        explicit["key"] = key
    if isinstance(conf, Mapping):
        given = {option_name(key): _text(value) for key, value in conf.items() if value is not None}
        found = Sources(
            name or DEFAULT_NAME, given.pop("cluster", DEFAULT_CLUSTER), "the options given", environ=environ
        )
        found.override(given, "the options given")
        found.override(explicit, _ARGUMENTS)
        return found
    arguments = parse_arguments(environ.get("CEPH_ARGS", ""))
    path, tried = find_file(conf, arguments, environ)
    found = Sources(name or arguments.name or DEFAULT_NAME, _cluster_name(path, arguments), environ=environ)
    if path is None:
        found.source = f"no ceph.conf found (tried {', '.join(tried)})"
    else:
        found.source = str(path)
        found.settings = parse_settings(read_text(path, "configuration file"), str(path))
    if "CEPH_KEYRING" in environ:
        found.override({"keyring": environ["CEPH_KEYRING"]}, "CEPH_KEYRING")
    found.override(arguments.options, "CEPH_ARGS")
    found.override(explicit, _ARGUMENTS)
    return found


def _text(value: object) -> str:
    """An option given by a program: lists are comma lists."""
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def find_file(
    conf: str | os.PathLike[str] | None, arguments: Arguments, environ: Mapping[str, str]
) -> tuple[str | os.PathLike[str] | None, list[str]]:
    """The file to read, or None and what was looked for. One that was named must exist: reading it will tell."""
    if conf is not None:
        return conf, []
    named = arguments.conf or environ.get("CEPH_CONF")
    cluster, home = arguments.cluster or DEFAULT_CLUSTER, environ.get("HOME") or os.path.expanduser("~")
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
    return stem if stem and dot else DEFAULT_CLUSTER


class Resolver:
    """Looks options up in overrides and sections, and expands them."""

    def __init__(self, sources: Sources) -> None:
        name, cluster, environ = sources.name, sources.cluster, sources.environ
        kind, dot, identity = name.partition(".")
        if not dot or kind.upper() not in EntityType.__members__:
            raise InvalidArgument(f"{name!r} is no name of an entity; write TYPE.ID, e.g. client.admin")
        self.name, self.cluster, self.source = name, cluster, sources.source
        self._overrides, self._origins, self._settings = sources.overrides, sources.origins, sources.settings
        self._found: dict[str, Setting] = {}
        order = {"global": 0, kind: 1, name: 2}
        for setting in sorted(
            (item for item in self._settings if item.section in order), key=lambda item: order[item.section]
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
        if setting is not None:
            return setting.value
        return OPTIONS[name].default if name in OPTIONS else None

    def place(self, name: str) -> str:
        """Where an option was set, for messages."""
        if name in self._overrides:
            return f"{self._origins[name]}, option {name}"
        setting = self._found.get(name)
        return f"option {name}" if setting is None else f"{setting.place}, option {name}"

    def is_set(self, name: str) -> bool:
        """Whether it has been set anywhere."""
        return name in self._overrides or name in self._found

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

    def value(self, name: str) -> Value:
        """An option of the table, of its kind. Raises InvalidArgument."""
        return parse_option(name, self.get(name) or "", self.place(name))

    def _seconds(self, name: str) -> float:
        value = self.value(name)
        assert isinstance(value, float)
        return value

    def _number(self, name: str) -> int:
        value = self.value(name)
        assert isinstance(value, int)
        return value

    def _fsid(self) -> UUID | None:
        value = self.value("fsid") if self.get("fsid") else None
        return value if isinstance(value, UUID) and value.int else None

    def _mon_hosts(self) -> tuple[MonHost, ...]:
        """Of mon_host, else of the [mon.X] sections' mon_addr. Without any of them, DNS is to be asked."""
        text = self.get("mon_host")
        found = parse_mon_host(text, self.place("mon_host")) if text else []
        if not found:
            for setting in self._settings:
                if setting.name == "mon_addr" and setting.section.startswith("mon."):
                    value = self.expand(setting.value, "mon_addr")
                    name = setting.section.removeprefix("mon.")
                    found += parse_mon_host(value, f"{setting.place}, option mon_addr", name)
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
            client_mount_timeout_s=self._seconds("client_mount_timeout"),
            rados_osd_op_timeout_s=self._seconds("rados_osd_op_timeout"),
            rados_mon_op_timeout_s=self._seconds("rados_mon_op_timeout"),
            objecter_inflight_ops=self._number("objecter_inflight_ops"),
            objecter_inflight_op_bytes=self._number("objecter_inflight_op_bytes"),
            fsid=self._fsid(),
            options={name: value for name in sorted(names) if (value := self.get(name)) is not None},
            keyring_paths=self._keyring_paths(),
            mon_dns_srv_name=self.get("mon_dns_srv_name") or "",
            key_place=self.place("key"),
        )
