"""`cove server` without a word behind it: an API process beside others on one PostgreSQL database."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def server(
    context: typer.Context,
    api_host: Annotated[str | None, typer.Option("--api-host", help="Address to listen on; else api_host.")] = None,
    api_port: Annotated[
        int | None, typer.Option("--api-port", min=0, max=65535, help="Its port, 0 for a free one; else api_port.")
    ] = None,
) -> None:
    """Serve the Networking and Identity APIs from a shared PostgreSQL database, in the foreground.

    Other words behind it are about virtual machines.
    """
    if context.invoked_subcommand is not None:
        return
    from ..config import Settings
    from ..daemon.__main__ import serve_api

    given: dict[str, Any] = {"api_host": api_host, "api_port": api_port}
    raise typer.Exit(serve_api(Settings(**{name: value for name, value in given.items() if value is not None})))


def register(app: typer.Typer) -> None:
    """Make it what the group does by itself."""
    app.callback(invoke_without_command=True, no_args_is_help=False)(server)
