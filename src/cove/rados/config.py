"""Config: the options of one client while they are put together: file, environment, command line, program.

    config = Config("client.admin")
    config.read_file()                     # CEPH_CONF, /etc/ceph/ceph.conf, …
    config.parse_environment()             # CEPH_ARGS
    rest = config.parse_arguments(argv)    # --mon-host …; what is not for us is returned
    config.set("rados_osd_op_timeout", "5")
    client = Rados(config)

The later of these go before the earlier ones, in whatever order they are called, as in librados: a value that the
program sets is not changed by a file that is read afterwards.

Source: Ceph's librados (`rados_conf_read_file`, `_parse_env`, `_parse_argv`, `_get`, `_set`), common/config (levels).
"""

from __future__ import annotations

import copy
import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Self

from .cephconf import DEFAULT_CLUSTER, DEFAULT_NAME, ClusterConf, Resolver, Sources, find_file, load_sources
from .confargs import Arguments, parse_arguments, take_options
from .conffile import option_name, parse_settings, read_text
from .config_options import checked, is_option
from .errors import InvalidArgument, ObjectNotFound

Path = str | os.PathLike[str]

_ORIGINS = ("the environment", "the command line", "set by the program")
"""Of the levels, in messages."""


class Config:
    """Options by level. `Rados` takes one; it is not looked at again once the client has connected."""

    def __init__(
        self, name: str | None = None, cluster: str | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        """`name` None: client.admin, and `cluster` None: ceph, unless CEPH_ARGS or a command line says otherwise.

        Raises InvalidArgument.
        """
        environ = os.environ if environ is None else environ
        sources = Sources(name or DEFAULT_NAME, cluster or DEFAULT_CLUSTER, environ=environ)
        if "CEPH_KEYRING" in environ:
            sources.override({"keyring": environ["CEPH_KEYRING"]}, "CEPH_KEYRING")
        self._begin(sources, name, cluster)

    @classmethod
    def load(
        cls,
        conf: Path | Mapping[str, object] | None = None,
        *,
        name: str | None = None,
        keyring: Path | None = None,
        key: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Self:
        """What `Rados(conf, name=..., ...)` reads. Raises ObjectNotFound, PermissionDenied, InvalidArgument."""
        found = cls.__new__(cls)
        sources = load_sources(conf, name, environ, keyring=keyring, key=key)
        found._begin(sources, sources.name, sources.cluster)
        return found

    def _begin(self, sources: Sources, name: str | None, cluster: str | None) -> None:
        self._sources, self._name, self._cluster = sources, name, cluster
        self._environment, self._command_line, self._program = Arguments(), Arguments(), Arguments()
        self._resolved: Resolver | None = None
        self._resolver()

    def copy(self) -> Self:
        """Another one with the same content."""
        found = copy.copy(self)
        found._sources = replace(self._sources)
        found._environment, found._command_line, found._program = (
            replace(level, options=dict(level.options)) for level in self._levels
        )
        return found

    @property
    def _levels(self) -> tuple[Arguments, ...]:
        """What goes before the file; the later before the earlier ones."""
        return self._environment, self._command_line, self._program

    @property
    def name(self) -> str:
        """Whose options these are, e.g. `client.admin`."""
        return self._resolver().name

    @property
    def cluster(self) -> str:
        """The cluster's name, which stands in the names of files: `ceph`."""
        return self._resolver().cluster

    # reading

    def read_file(self, path: Path | None = None) -> None:
        """Take the sections of a ceph.conf that are for us; None: the first one at the usual places.

        It replaces a file that was read before. Raises ObjectNotFound, PermissionDenied, InvalidArgument.
        """
        tried: list[str] = []
        if path is None:
            path, tried = find_file(None, Arguments(cluster=self.cluster), self._sources.environ)
        if path is None:
            raise ObjectNotFound(f"no ceph.conf found (tried {', '.join(tried)})", errno=errno.ENOENT)
        text = read_text(path, "configuration file")
        self._sources.settings = parse_settings(text, str(path))
        self._sources.source = str(path)
        self._resolved = None

    def parse_environment(self, variable: str = "CEPH_ARGS") -> None:
        """Take the options in an environment variable. Raises InvalidArgument."""
        self._take(self._environment, parse_arguments(self._sources.environ.get(variable, ""), variable))

    def parse_arguments(self, words: Sequence[str]) -> list[str]:
        """Take the options of Ceph on a command line (without the program's name) and return the other words.

        Raises InvalidArgument for an option without its value.
        """
        found, rest = take_options(words)
        self._take(self._command_line, found)
        return rest

    def _take(self, level: Arguments, found: Arguments) -> None:
        options = {name: checked(name, value) for name, value in found.options.items()}
        level.options |= options
        level.name, level.cluster = found.name or level.name, found.cluster or level.cluster
        self._resolved = None
        self._resolver()
        if found.conf is not None:
            self.read_file(found.conf)

    # single options

    def set(self, option: str, value: str) -> None:
        """Set an option. Raises ObjectNotFound (Ceph has none of that name), InvalidArgument (no value for it)."""
        name = option_name(option)
        if not is_option(name):
            raise ObjectNotFound(f"option {option!r}: Ceph has none of that name [ENOENT]", errno=errno.ENOENT)
        if not isinstance(value, str):
            raise InvalidArgument(f"option {name}: values are texts, not {type(value).__name__}")
        self._program.options[name] = checked(name, value)
        self._resolved = None

    def get(self, option: str) -> str | None:
        """The value that is in force; None for an option that is not set, and of which no default is known."""
        return self._resolver().get(option_name(option))

    def is_set(self, option: str) -> bool:
        """Whether file, environment, command line or program have set an option."""
        return self._resolver().is_set(option_name(option))

    def cluster_conf(self) -> ClusterConf:
        """All that a client needs of it, as typed values. Raises InvalidArgument."""
        return self._resolver().result()

    def _resolver(self) -> Resolver:
        if self._resolved is None:
            sources, name, cluster = self._sources, self._name, self._cluster
            for level in reversed(self._levels):
                name, cluster = name or level.name, cluster or level.cluster
            effective = replace(
                sources,
                name=name or DEFAULT_NAME,
                cluster=cluster or DEFAULT_CLUSTER,
                overrides=dict(sources.overrides),
                origins=dict(sources.origins),
            )
            for level, origin in zip(self._levels, _ORIGINS, strict=True):
                effective.override(level.options, origin)
            self._resolved = effective.resolver()
        return self._resolved

    def __repr__(self) -> str:
        return f"<Config of {self.name}: {self._sources.source}>"
