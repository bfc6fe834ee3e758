"""`cove clouds-yaml`, and what `cove up` tells of it: how `openstack`, openstacksdk and Terraform find this cloud."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import typer

from ..errors import CoveError
from .client import NotRunning, load_settings

if TYPE_CHECKING:
    from ..config import Settings

FILE = "clouds.yaml"
_PASSWORD = re.compile(r'^(\s*password: )".*"$', re.MULTILINE)


def clouds_yaml() -> None:
    """Print clouds.yaml, with the passwords of the clouds cove (an admin) and cove-demo.

    As root: sudo cove clouds-yaml > ~/.config/openstack/clouds.yaml
    """
    typer.echo(_read(load_settings()), nl=False)


def _read(settings: Settings) -> str:
    """The file that the server has written. Raises NotRunning, CoveError."""
    try:
        return (settings.run_dir / FILE).read_text()
    except FileNotFoundError:
        pass
    if settings.identity:
        raise CoveError(f"the users are those of {settings.identity}: its clouds.yaml is the one to use")
    raise NotRunning("Cove is not running here: start it with `cove up`")


def hint(settings: Settings) -> list[str]:
    """Lines for who has just started Cove. Passwords are not among them."""
    lines: list[str] = []
    if settings.identity:
        lines += ["", f"Its users are those of {settings.identity}."]
    else:
        try:
            stanza = _PASSWORD.sub(r"\1…", _read(settings)).partition("  cove-demo:")[0].splitlines()
        except (OSError, CoveError):  # told elsewhere, or not there: no reason to fail
            return lines
        lines += [
            "",
            "Networks for `openstack`, openstacksdk and Terraform, as root:",
            "",
            f"  export OS_CLIENT_CONFIG_FILE={settings.run_dir / FILE}",
            "  openstack --os-cloud cove network list",
            "",
            "For your own account: `sudo cove clouds-yaml > ~/.config/openstack/clouds.yaml`. That is this, with the",
            f"password of {settings.state_dir}/admin-password, and the cloud cove-demo of a user who is no admin:",
            "",
            *(f"  {line}" for line in stanza),
        ]
    if not _is_loopback(settings.api_host):
        lines += ["", "Passwords and tokens cross the network as plain HTTP: put a proxy with TLS before the API."]
    return lines


def _is_loopback(host: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command(name="clouds-yaml")(clouds_yaml)
