"""The directory of a network's dnsmasq: `<state>/dhcp/<network id>/`.

What dnsmasq reads (one small file a reservation, renamed into place, so that a change costs the same at any size):

    hosts.d/<address>   a `--dhcp-host` line        hosts.d/ipv6-<id>   that of a port's IPv6 addresses
    names.d/<address>   the names of the address
    opts.d/subnets      options of the subnets      opts.d/port-<id>    options of one port

What it writes: `leases`, `log`, `pid`. What people and tools may look at: `host`, `addn_hosts`, `opts`, `interface`.
Ours: `process.json` (which process it is). dnsmasq runs without privileges: it can read here, and write only what it
has open. All methods block.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from cove.dhcp.drivers import hostfiles
from cove.dhcp.drivers.entries import Plan
from cove.dhcp.drivers.hostfiles import HostEntry
from cove.dhcp.errors import DriverError
from cove.linux import files

FILE_MODE = 0o644
SUBNETS = "subnets"
BARRIERS = 8
LEFT_AT_SHUTDOWN = frozenset({"leases"})


class NetworkDirectory:
    """Paths and writes below one network's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hosts = path / "hosts.d"
        self.names = path / "names.d"
        self.options = path / "opts.d"
        self.temporary = path / "tmp"
        self.leases = path / "leases"
        self.log = path / "log"
        self.old_log = path / "log.1"
        self.output = path / "output"
        self.process = path / "process.json"
        self.interface = path / "interface"

    def prepare(self) -> None:
        """Make what is missing. Raises DriverError if dnsmasq's user could not get here."""
        files.ensure_directory(self.path, mode=0o755)
        for directory in (self.hosts, self.names, self.options):
            files.ensure_directory(directory, mode=0o755)
        files.ensure_directory(self.temporary, mode=0o700)
        for parent in self.path.parents:
            if not parent.stat().st_mode & stat.S_IXOTH:
                raise DriverError(
                    f"directory {parent} cannot be entered by dnsmasq's unprivileged user: run `chmod o+x {parent}`"
                )
        for entry in os.scandir(self.temporary):
            os.unlink(entry.path)

    def write(self, directory: Path, name: str, text: str) -> None:
        """Put a file into a watched directory."""
        files.write_atomic(directory / name, text, mode=FILE_MODE, temporary_in=self.temporary)

    def write_all(self, directory: Path, changes: Mapping[str, str | None]) -> None:
        """Write (text) or remove (None) files of a watched directory."""
        for name, text in changes.items():
            if text is None:
                files.remove(directory / name)
            else:
                self.write(directory, name, text)

    def write_plan(self, plan: Plan) -> None:
        """All of a plan: options and names first, since the hosts refer to them."""
        self.write_all(self.options, plan.options)
        self.write_all(self.names, plan.names)
        self.write_all(self.hosts, plan.hosts)

    def synchronise(self, directory: Path, wanted: Mapping[str, str]) -> None:
        """Make the directory hold exactly these files."""
        for entry in os.scandir(directory):
            if entry.name not in wanted:
                os.unlink(entry.path)
        for name, text in wanted.items():
            if files.read_text(directory / name) != text:
                self.write(directory, name, text)

    def write_readable(
        self,
        entries: Sequence[HostEntry],
        names: Mapping[str, str],
        subnet_options: str,
        port_options: Mapping[str, str],
    ) -> None:
        """The files for people."""
        texts = {
            "host": hostfiles.host_file(entries),
            "addn_hosts": hostfiles.addn_hosts_file(names),
            "opts": hostfiles.opts_file(subnet_options, port_options),
        }
        for name, text in texts.items():
            files.write_atomic(self.path / name, text, mode=FILE_MODE)

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.path, ignore_errors=True)

    def remove_run_time_files(self) -> None:
        """Remove everything but the leases."""
        if not self.path.is_dir():
            return
        for entry in os.scandir(self.path):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            elif entry.name not in LEFT_AT_SHUTDOWN:
                os.unlink(entry.path)
