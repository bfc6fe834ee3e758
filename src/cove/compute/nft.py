"""Running nft: a list of commands is one transaction, in force as a whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cove.errors import CoveError

NFT = "nft"
TIMEOUT_S = 20.0
_WORDS_MAX = 300


class NftError(CoveError):
    """nft refused the commands, did not end, or is not there."""


async def apply(lines: Sequence[str], *, namespace: str | None = None) -> None:
    """Put commands in force, all or none. `namespace`: of the network, where it is not this process's own.

    Raises NftError.
    """
    await _run(["-f", "-"], namespace, lines)


async def try_out(lines: Sequence[str], *, namespace: str | None = None) -> str:
    """What the kernel has against the commands, which change nothing; empty if nothing."""
    try:
        await _run(["--check", "-f", "-"], namespace, lines)
    except NftError as error:
        return str(error)
    return ""


async def show(arguments: Sequence[str], *, namespace: str | None = None) -> bytes:
    """The output of `nft --json <arguments>`. Raises NftError."""
    return await _run(["--json", *arguments], namespace, ())


async def _run(arguments: Sequence[str], namespace: str | None, lines: Sequence[str]) -> bytes:
    argv = [NFT, *arguments]
    if namespace is not None:
        argv = ["ip", "netns", "exec", namespace, *argv]
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=pipe)
    except FileNotFoundError:
        raise NftError(f"{argv[0]} is not installed: apt-get install nftables") from None
    script = "".join(f"{line}\n" for line in lines).encode()
    try:
        out, err = await asyncio.wait_for(process.communicate(script), TIMEOUT_S)
    except TimeoutError:
        raise NftError(f"nft: no end after {TIMEOUT_S:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        words = " ".join(err.decode(errors="replace").split())[:_WORDS_MAX]
        raise NftError(f"nft refused: {words}")
    return out
