"""Running nft: a list of commands is one transaction, in force as a whole or not at all; and tables kept in force."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog

from cove.errors import CoveError

log = structlog.get_logger(__name__)

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
        async with asyncio.timeout(TIMEOUT_S):
            out, err = await process.communicate(script)
    except TimeoutError:
        raise NftError(f"nft: no end after {TIMEOUT_S:.0f} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        words = " ".join(err.decode(errors="replace").split())[:_WORDS_MAX]
        raise NftError(f"nft refused: {words}")
    return out


class Kept:
    """Tables that are to be as their owner says, whatever happens to them: changed a little, or made anew as a whole.

    Whoever makes a change does not always learn whether it has happened: nft is ended, the task is cancelled, what was
    to be said is not said. Then, and where a change is refused (somebody flushed the rules), all is made anew. Calls
    must not overlap.
    """

    def __init__(self, namespace: str | None = None) -> None:
        self._namespace = namespace
        self._doubtful = True

    def doubt(self) -> None:
        """What is in force may not be what it should be: the next change makes it anew."""
        self._doubtful = True

    async def put(self, whole: Sequence[str]) -> None:
        """Make all anew. Raises NftError; then it is doubtful what is in force."""
        self._doubtful = True
        await apply(whole, namespace=self._namespace)
        self._doubtful = False

    async def change(self, lines: Sequence[str], whole: Callable[[], Sequence[str]]) -> None:
        """Make a change or, if that cannot be, make all anew. Raises NftError; then it is doubtful what is in force."""
        if not self._doubtful:
            if not lines:
                return
            self._doubtful = True
            try:
                await apply(lines, namespace=self._namespace)
            except NftError as error:
                log.info("nft.change", error=str(error))
            else:
                self._doubtful = False
                return
        await self.put(whole())

    async def check(self, elements: Mapping[str, Iterable[str]], whole: Callable[[], Sequence[str]]) -> bool:
        """Whether sets and maps have these keys; if not, all is made anew. Raises NftError.

        They are named as nft does: "map bridge TABLE NAME".
        """
        if not self._doubtful and await self._has(elements):
            return True
        await self.put(whole())
        return False

    async def _has(self, elements: Mapping[str, Iterable[str]]) -> bool:
        for name, keys in elements.items():
            try:
                shown = await show(["list", *name.split()], namespace=self._namespace)
            except NftError:
                return False
            if _keys(shown) != set(keys):
                return False
        return True


def _keys(shown: bytes) -> set[str]:
    """The keys of a set or map as nft shows it."""
    keys: set[str] = set()
    for item in json.loads(shown).get("nftables", []):
        for element in (item.get("map") or item.get("set") or {}).get("elem", []):
            keys.add(element[0] if isinstance(element, list) else element)
    return keys
