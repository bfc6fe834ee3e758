"""ClientBase: the life of a client (configuration, connect, shutdown) and what its parts share.

It owns messenger, MonClient, MgrClient and Objecter; `client.py` puts the calls of each subject on top of it.

Source: Ceph's librados; its RadosClient.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self
from uuid import UUID

import structlog

from ..messenger import Connection, Dispatcher, Messenger
from ..wire.messages import Message, MOSDMap
from ..wire.osdmap import OSDMap
from .conf import RUNTIME_OPTIONS, RadosConf, option_text
from .conffile import option_name
from .config import Config
from .errors import Cancelled, InvalidArgument, NotConnected, TimedOut
from .mgrclient import MgrClient
from .monclient import MonClient, MonClientConf
from .monitor_log import MonitorLog
from .montell import Errand
from .objecter import Objecter
from .service_daemon import ServiceDaemonReports
from .transport import CephTransport, Transport

log = structlog.get_logger(__name__)

Path = str | os.PathLike[str]


class ClientBase(Dispatcher):
    """A client. All methods are to be called on the event loop on which `connect` ran."""

    def __init__(
        self,
        cluster: Path | Mapping[str, str] | Config | Transport | None = None,
        *,
        name: str | None = None,
        keyring: Path | None = None,
        key: str | None = None,
        conf: RadosConf | None = None,
    ) -> None:
        """`cluster`: the path of a ceph.conf, options as in one (`{"mon_host": ..., "key": ...}`), a `Config`, a
        `Transport`, or None: CEPH_CONF, CEPH_ARGS, /etc/ceph/ceph.conf. Files are read here; nothing is connected yet.

        `name` (client.admin), `keyring` (a file) and `key` (base64) go before what the options say; `conf` has the
        time-outs and limits, by default those of the options. Raises InvalidArgument, ObjectNotFound (no file).
        """
        self._transport_is_ours = cluster is None or isinstance(cluster, (str, os.PathLike, Mapping, Config))
        if cluster is None or isinstance(cluster, (str, os.PathLike, Mapping)):
            cluster = Config.load(cluster, name=name, keyring=keyring, key=key)
        elif keyring is not None or key is not None:
            raise InvalidArgument("keyring and key go with a ceph.conf or options; a Config or transport knows them")
        if isinstance(cluster, Config):
            if name not in (None, cluster.name):
                raise InvalidArgument(f"name={name!r}: the Config is that of {cluster.name}")
            self.config = cluster.copy()
            cluster = CephTransport(cluster.cluster_conf())
            name = self.config.name
        self.name = name or cluster.name
        kind, _, who = self.name.partition(".")
        if kind != "client" or not who:
            raise InvalidArgument(f"name={self.name!r}: must be client.NAME, e.g. client.admin")
        if not self._transport_is_ours:
            self.config = Config(self.name)
        self.transport: Transport = cluster
        self._transport_is_stale = False
        self.conf = conf or cluster.conf
        self._own_conf = self.conf
        """Without what the cluster's configuration database says."""
        self._conf_is_given = conf is not None
        self.log_watch = MonitorLog()
        self.service_daemon = ServiceDaemonReports()
        self._errands: set[Errand] = set()
        self._messenger: Messenger | None = None
        self._monclient: MonClient | None = None
        self._mgrclient: MgrClient | None = None
        self._objecter: Objecter | None = None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.shutdown()

    async def connect(self, timeout_s: float | None = None) -> None:
        """Log in at a monitor and get the first map, within `timeout_s` (by default `conf.connect_timeout_s`, 30 s).

        Raises TimedOut, which tells how it went with each monitor; PermissionDenied if they refuse who we are;
        Cancelled if it is shut down meanwhile.
        """
        if self._messenger is not None:
            raise InvalidArgument(f"{self.name} is connected already")
        loop = asyncio.get_running_loop()
        timeout_s = self.conf.connect_timeout_s if timeout_s is None else timeout_s
        deadline = loop.time() + timeout_s
        self._refresh_transport()
        auth = self.transport.create_auth()
        messenger = self._messenger = self.transport.create_messenger(auth)
        try:
            try:
                async with asyncio.timeout_at(deadline):
                    monitors = await self.transport.find_monitors()
            except TimeoutError:
                raise TimedOut("the addresses of the monitors were not known by then; check DNS") from None
            if self._messenger is not messenger:
                raise Cancelled("the client was shut down")
            monclient = self._monclient = MonClient(messenger, monitors, auth, self.transport.mon_conf)
            mgrclient = self._mgrclient = MgrClient(messenger, monclient, self.service_daemon)
            objecter = self._objecter = Objecter(messenger, monclient, self.conf)
            for dispatcher in (monclient, objecter, mgrclient, self.log_watch, self):
                messenger.add_dispatcher_tail(dispatcher)
            monclient.on_config.append(self._apply_conf)
            self.log_watch.attach(monclient)
            monclient.start()
            await monclient.authenticate(deadline - loop.time())
            objecter.start()
            mgrclient.start()
            try:
                await objecter.wait_for_map(1, max(deadline - loop.time(), 0.0))
            except TimedOut as problem:
                raise TimedOut(f"{problem}; {monclient.hunt.report()}") from None
        except BaseException as problem:
            if self._messenger is messenger:  # else it has been shut down, and may be connecting again
                await self.shutdown()
            if isinstance(problem, TimedOut):
                raise TimedOut(
                    f"{self.name}: no connection to the cluster within {timeout_s:g} s: {problem}",
                    errno=errno.ETIMEDOUT,
                ) from None
            raise

    def _refresh_transport(self) -> None:
        """Take addresses and keys that were set since the client was made."""
        if self._transport_is_stale:
            self.transport, self._transport_is_stale = CephTransport(self.config.cluster_conf()), False

    async def shutdown(self) -> None:
        """Fail what is in flight and close all connections. Twice is no error."""
        objecter, self._objecter = self._objecter, None
        mgrclient, self._mgrclient = self._mgrclient, None
        monclient, self._monclient = self._monclient, None
        messenger, self._messenger = self._messenger, None
        for errand in tuple(self._errands):
            errand.cancel()
        if objecter is not None:
            objecter.shutdown()
        try:
            await self.service_daemon.unregister()
        finally:
            if mgrclient is not None:
                mgrclient.shutdown()
            if monclient is not None:
                monclient.shutdown()
            if messenger is not None:
                await messenger.shutdown()

    # configuration

    def conf_get(self, option: str) -> str | None:
        """The value in force of a Ceph option; None for one that is not set, and of which no default is known.

        What the cluster's configuration database has for us goes before the defaults only.
        """
        name = option_name(option)
        if name in RUNTIME_OPTIONS:
            return option_text(self.conf, name)
        if self._monclient is not None and name in self._monclient.config and not self.config.is_set(name):
            return self._monclient.config[name]
        return self.config.get(name)

    def conf_set(self, option: str, value: str) -> None:
        """Set a Ceph option. Time-outs and limits take effect at once, addresses and keys when `connect` is called;
        those that Cove does not know are kept, for `conf_get`.

        Raises ObjectNotFound (Ceph has none of that name), InvalidArgument (no value for it).
        """
        config = self.config.copy()
        config.set(option, value)
        cluster = config.cluster_conf()
        wanted, mon_conf = RadosConf.of_cluster(cluster), MonClientConf.from_options(cluster.options)
        # nothing has changed until here: a value that is refused leaves all as it was
        self.config, self._transport_is_stale = config, self._transport_is_ours
        name = option_name(option)
        field = RUNTIME_OPTIONS.get(name)
        if field is not None:
            self._own_conf = replace(self._own_conf, **{field: getattr(wanted, field)})
            self._apply_conf()
        elif self._monclient is not None and name.startswith("mon_client_"):
            self._monclient.conf = mon_conf

    def _apply_conf(self) -> None:
        """Our own settings, and where there are none the cluster's (`ceph config set client ...`)."""
        conf = self._own_conf
        central = {} if self._monclient is None or self._conf_is_given else self._monclient.config
        for option, field in RUNTIME_OPTIONS.items():
            if option in central and not self.config.is_set(option):
                try:
                    theirs = Config.load({option: central[option]}, environ={}).cluster_conf()
                    conf = replace(conf, **{field: getattr(RadosConf.of_cluster(theirs), field)})
                except InvalidArgument as problem:
                    log.warning("central_option_ignored", option=option, why=str(problem))
        self.conf = conf
        if self._objecter is not None:
            self._objecter.configure(conf)

    @property
    def objecter(self) -> Objecter:
        """The Objecter. Raises NotConnected."""
        if self._objecter is None:
            raise NotConnected(f"{self.name} is not connected; call connect() first")
        return self._objecter

    @property
    def osdmap(self) -> OSDMap:
        """The newest map we have. Raises NotConnected."""
        osdmap = self.objecter.osdmap
        if osdmap is None:
            raise NotConnected(f"{self.name} has no OSD map yet; call connect() first")
        return osdmap

    @property
    def fsid(self) -> UUID:
        """The cluster's id."""
        return self.osdmap.fsid

    @property
    def monclient(self) -> MonClient:
        """The session with a monitor. Raises NotConnected."""
        if self._monclient is None:
            raise NotConnected(f"{self.name} is not connected; call connect() first")
        return self._monclient

    @property
    def global_id(self) -> int:
        """Our number in the cluster: others see us as client.NUMBER. Raises NotConnected."""
        return self.monclient.messenger.name.number

    def filenos(self) -> Sequence[int]:
        """The numbers of the sockets of its connections, for a process that has inherited copies of them."""
        return () if self._messenger is None else self._messenger.filenos()

    def ms_dispatch(self, connection: Connection, message: Message) -> bool:
        """Last in the chain: maps end here, after the Objecter has seen them."""
        return isinstance(message, MOSDMap)
