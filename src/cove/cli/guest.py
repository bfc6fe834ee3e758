"""`cove guest build`: the micro guest, from Debian's kernel and a static busybox."""

from __future__ import annotations

import typer

from .client import load_settings
from .output import console, human_bytes, quiet_logs, say

app = typer.Typer(help="The micro guest that VMs boot without an image.", no_args_is_help=True)


@app.callback()
def guest() -> None:
    """The micro guest that VMs boot without an image."""


@app.command()
def build() -> None:
    """Build the micro guest; quick if it is there already."""
    import asyncio

    from ..compute.guest import build_guest

    quiet_logs()
    settings = load_settings()
    with console.status("building the micro guest") as status:
        files = asyncio.run(
            build_guest(
                settings.state_dir / "guest",
                progress=lambda text: status.update(f"micro guest: {text}"),
            )
        )
    sizes = [human_bytes(path.stat().st_size) for path in (files.vmlinuz, files.initramfs)]
    say(f"kernel {files.kernel_release} {sizes[0]} · initramfs {sizes[1]}", "guest")
