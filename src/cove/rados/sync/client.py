"""Rados: a handle on a cluster: configuring → connected → shutdown.

Source: Ceph's pybind/rados (`Rados`), librados.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from ..client import Rados as Client
from ..config import Config
from ..errors import Error as ClientError
from ..errors import InvalidArgument
from . import runtime
from .checks import check_str, cstr, integer, wrong_type
from .client_calls import ClusterCalls
from .constants import VERSION
from .errors import Error, make_ex
from .session import Session


class Version:
    """The version of the interface: `major`, `minor`, `extra`."""

    def __init__(self, major: int, minor: int, extra: int) -> None:
        self.major = major
        self.minor = minor
        self.extra = extra

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.extra}"


class Rados(ClusterCalls):
    """A handle. `state` is "configuring", "connected" or "shutdown"; `with` connects it and shuts it down.

    All calls may be made by any thread. After a fork the child's copy of a connected handle connects anew, as another
    client, when it is used.
    """

    NO_CONF_FILE = -1
    """For `conffile`: read no file."""
    DEFAULT_CONF_FILES = -2
    """For `conffile`: read CEPH_CONF, or the first file that is there of the usual ones."""

    def __init__(
        self,
        rados_id: str | None = None,
        name: str | None = None,
        clustername: str | None = None,
        conf_defaults: Mapping[str, str] | None = None,
        conffile: str | int | None = NO_CONF_FILE,
        conf: Mapping[str, str] | None = None,
        flags: int = 0,
        context: object = None,
    ) -> None:
        """`rados_id`: `admin`, or `name`: `client.admin` (the default). Options come from `conf_defaults`, then
        the file ("" and DEFAULT_CONF_FILES: the usual one), then `conf`; later ones count.

        `flags` and `context` are for librados only. Raises Error, ObjectNotFound (no such file, no such option).
        """
        self.state = "invalid"
        self.monitor_callback: Any = None
        self.monitor_callback2: Any = None
        self.parsed_args: Sequence[str] = []
        self.conf_defaults = conf_defaults
        self.conffile = conffile
        self.rados_id = rados_id
        self._session: Session | None = None
        self._lock = threading.RLock()
        if rados_id and name:
            raise Error("Rados(): can't supply both rados_id and name")
        if rados_id:
            name = "client." + rados_id
        elif name is None:
            name = "client.admin"
        cstr(name, "name")
        cstr(clustername, "clustername", opt=True)
        try:
            self._config = Config(name, clustername or "ceph")
        except InvalidArgument as problem:
            raise Error(f"rados_initialize failed with error code: {-errno.EINVAL}") from problem
        self.state = "configuring"
        for option, value in (conf_defaults or {}).items():
            self.conf_set(option, value)
        if conffile not in (self.NO_CONF_FILE, None):
            self.conf_read_file(None if conffile in (self.DEFAULT_CONF_FILES, "") else conffile)  # type: ignore[arg-type]
        for option, value in (conf or {}).items():
            self.conf_set(option, value)

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, type_: object, value: object, traceback: object) -> None:
        self.shutdown()

    def __del__(self) -> None:
        session = getattr(self, "_session", None)
        if session is not None:
            self._session = None
            session.abandon()

    def version(self) -> Version:
        """The version of librados' interface that this is."""
        return Version(*VERSION)

    # configuration

    def conf_read_file(self, path: str | None = None) -> None:
        """Take the options of a ceph.conf; None: CEPH_CONF, or the first that is there of the usual ones.

        Raises ObjectNotFound, PermissionDeniedError, InvalidArgumentError.
        """
        self.require_state("configuring", "connected")
        where = cstr(path, "path", opt=True)
        self._configure(
            "error calling conf_read_file", lambda: self._config.read_file(where.decode() if where else None)
        )

    def conf_parse_argv(self, args: Sequence[str]) -> list[str] | None:
        """Take the options of Ceph in a command line, and return the other words; None if there are no words."""
        self.require_state("configuring", "connected")
        if not args:
            return None
        words = []
        for word in args:
            raw = cstr(word, "args")
            assert raw is not None
            words.append(raw.decode())
        rest: list[str] = []
        self._configure("error calling conf_parse_argv_remainder", lambda: rest.extend(self._parse_words(words)))
        self.parsed_args = args
        return rest

    def _parse_words(self, words: list[str]) -> list[str]:
        """A lonely empty word is nobody's option."""
        return words if words == [""] else self._config.parse_arguments(words)

    def conf_parse_env(self, var: str | None = "CEPH_ARGS") -> None:
        """Take the options of Ceph in an environment variable."""
        self.require_state("configuring", "connected")
        if not var:
            return
        check_str(var=var)
        self._configure("error calling conf_parse_env", lambda: self._config.parse_environment(var))

    def conf_get(self, option: str) -> str | None:
        """The value that is in force; None for an option of which nothing is known."""
        self.require_state("configuring", "connected")
        check_str(option=option)
        session = self._session
        if session is None:
            return self._config.get(option)
        return session.run(lambda: _conf_get(session.client, option))

    def conf_set(self, option: str, val: str) -> None:
        """Set an option: time-outs take effect at once, others when connecting.

        Raises ObjectNotFound (Ceph has none of that name), InvalidArgumentError (no value for it).
        """
        self.require_state("configuring", "connected")
        if not isinstance(option, str):
            raise wrong_type("option", option, "str")
        if not isinstance(val, str):
            raise wrong_type("val", val, "str")
        session = self._session
        if session is None:
            self._configure("error calling conf_set", lambda: self._config.set(option, val))
        else:
            self._configure(
                "error calling conf_set", lambda: session.run(lambda: _conf_set(session.client, option, val))
            )

    def _configure(self, message: str, change: Any) -> None:
        try:
            change()
        except ClientError as problem:
            raise make_ex(problem.errno, message) from problem

    # life

    def connect(self, timeout: float | None = 0) -> None:
        """Connect, within `timeout` seconds (0: as long as client_mount_timeout says, 30 s by default; so do None and
        negative numbers, as Ceph's module ignores what it is given).

        Raises TimedOut, PermissionError, PermissionDeniedError, ObjectNotFound (no monitors, no key).
        """
        self.require_state("configuring")
        runtime.refuse_at_exit()
        seconds = 0 if timeout is None else timeout if isinstance(timeout, float) else integer(timeout)
        with self._lock:
            self.require_state("configuring")
            self._session = self._new_session(seconds if seconds > 0 else None)
            self.state = "connected"

    def _new_session(self, timeout_s: float | None) -> Session:
        try:
            session = Session(self, self._make_client())
            session.connect(timeout_s)
        except ClientError as problem:
            code = problem.errno
            if isinstance(problem, InvalidArgument) and not self._config.get("mon_host"):
                code = errno.ENOENT  # as librados says that there are no monitors
            raise make_ex(code, "error connecting to the cluster") from problem
        return session

    def _make_client(self) -> Client:
        return Client(self._config)

    def session(self) -> Session:
        """The connection. Raises RadosStateError unless it is connected."""
        session = self._session
        if session is None:
            with self._lock:
                self.require_state("connected")
                if self._session is None:  # the process has forked since
                    self._session = self._new_session(None)
                session = self._session
        return session

    def forget_session(self) -> None:
        """In the child of a fork: the connection is the parent's."""
        self._session = None
        self._lock = threading.RLock()

    def shutdown(self) -> None:
        """Disconnect: what is in flight fails, callbacks are waited for. Twice is no error."""
        with self._lock:
            session, self._session = self._session, None
            if self.state == "invalid":
                return
            self.state = "shutdown"
        if session is not None and not runtime.state.exiting:
            session.shutdown()


class MonitorLog:
    """The older form of `Rados.monitor_log`: the handle keeps it going, this object is only a record of it."""

    def __init__(self, cluster: Rados, level: str, callback: Callable[..., Any] | None, arg: Any) -> None:
        self.level = level
        self.callback = callback
        self.arg = arg
        self.cluster = cluster
        self.cluster.monitor_log(level, callback, arg)


async def _conf_get(client: Client, option: str) -> str | None:
    return client.conf_get(option)


async def _conf_set(client: Client, option: str, val: str) -> None:
    client.conf_set(option, val)
