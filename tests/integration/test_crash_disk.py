"""`kill -9` of the whole server while a disk is written to: every acknowledged block is there, and none is torn."""

from __future__ import annotations

import random
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .cove_instance import CoveInstance, eventually
from .nbd_client import NbdClient

ROUNDS = 30
BLOCK = 4096
BLOCKS = 4096  # 16 MiB: four objects, so that blocks are written again and again


def block_of(number: int, generation: int) -> bytes:
    """A block that tells which it is, in every one of its sectors."""
    return f"{number:08d}.{generation:08d} ".encode() * (BLOCK // 18) + b"-" * (BLOCK % 18)


@contextmanager
def exported(cove: CoveInstance, socket: Path) -> Iterator[None]:
    """`cove rbd export-nbd` in the background."""
    export = subprocess.Popen(
        [*cove.command, "rbd", "export-nbd", "rbd/crash", "--socket", str(socket)],
        env=cove.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(socket.exists, 20, "the export's socket")
        yield
    finally:
        export.terminate()
        export.wait(30)


class Writer:
    """Writes blocks one after another; remembers what was acknowledged and what was under way."""

    def __init__(self, socket: Path, acknowledged: dict[int, int], seed: int) -> None:
        self.socket, self.acknowledged, self.rng = socket, acknowledged, random.Random(seed)
        self.under_way: tuple[int, int] | None = None
        self.begun = threading.Event()
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        """Until the server is gone."""
        try:
            with NbdClient(self.socket, "crash") as nbd:
                while True:
                    number = self.rng.randrange(BLOCKS)
                    generation = self.acknowledged.get(number, 0) + 1
                    self.under_way = (number, generation)
                    nbd.write(number * BLOCK, block_of(number, generation))
                    self.acknowledged[number] = generation
                    self.begun.set()
        except (ConnectionError, TimeoutError):
            return
        except BaseException as error:
            self.failure = error


def test_every_acknowledged_write_survives(cove: CoveInstance, tmp_path: Path) -> None:
    rng = random.Random(3)
    cove.cove("rbd", "create", "rbd/crash", "--size", "16M")
    acknowledged: dict[int, int] = {}
    for round_ in range(ROUNDS):
        socket = tmp_path / f"{round_}.sock"
        with exported(cove, socket):
            writer = Writer(socket, acknowledged, round_)
            writer.thread.start()
            assert writer.begun.wait(30)
            writer.thread.join(rng.random() * 0.2)  # the moment of the kill is random
            cove.kill()
            writer.thread.join(30)
            assert not writer.thread.is_alive()
            assert writer.failure is None
        cove.up()
        with (
            exported(cove, tmp_path / f"{round_}-check.sock"),
            NbdClient(tmp_path / f"{round_}-check.sock", "crash") as nbd,
        ):
            disk = b"".join(nbd.read(start, 1 << 20) for start in range(0, BLOCKS * BLOCK, 1 << 20))
        for number in range(BLOCKS):
            found = disk[number * BLOCK : (number + 1) * BLOCK]
            known = acknowledged.get(number, 0)
            allowed = {block_of(number, known) if known else bytes(BLOCK)}
            if writer.under_way is not None and writer.under_way[0] == number:
                allowed.add(block_of(*writer.under_way))
            assert found in allowed, f"round {round_}, block {number}: {found[:20]!r}, acknowledged {known}"
            if writer.under_way == (number, known + 1) and found == block_of(number, known + 1):
                acknowledged[number] = known + 1
    assert sum(acknowledged.values()) > ROUNDS * 10, "too little was written to mean anything"
