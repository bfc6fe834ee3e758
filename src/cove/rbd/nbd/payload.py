"""Memory for what clients write: given out and filled in pieces that do not hold up the event loop."""

from __future__ import annotations

import mmap

LARGE_PAYLOAD_BYTES = 2 << 20
"""From this length on, memory comes straight from the kernel, page by page as it is filled: to have all of it cleared
in one go would hold up the event loop for up to 100 ms."""
RECEIVE_AT_ONCE_BYTES = 256 << 10
"""Of a payload. A fast sender could fill any buffer in one go, and nothing else would have its turn meanwhile."""


def payload_memory(length: int) -> memoryview:
    """Memory of so many bytes to receive into."""
    if length < LARGE_PAYLOAD_BYTES:
        return memoryview(bytearray(length))
    return memoryview(mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
