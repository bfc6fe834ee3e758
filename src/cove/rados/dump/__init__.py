"""Objects with all they have, from pool to pool and into files: what `rados export`, `import`, `cppool` and `cp` do.

    async with rados.open_ioctx("pool") as ioctx:
        with open("dump", "wb") as file:
            await export_pool(ioctx, file)          # the format of Ceph's own `rados export`
        with open("dump", "rb") as file:
            check_dump(file)                        # raises DamagedDump before anything is written
            await import_pool(ioctx, file)

Source: Ceph's tools/rados/PoolDump.cc and RadosImport.cc; the format is in wire/rados_dump.py.
"""

from ...wire.rados_dump import ObjectBegin, Section
from .contents import Existing, ObjectChanged, ObjectContents, Written, at, piece_size, read_object, write_object
from .exporting import Exported, export_pool, objects_of
from .importing import DamagedDump, Imported, Outcome, check_dump, import_pool
from .parallel import in_order
from .threads import in_thread

__all__ = [
    "DamagedDump",
    "Existing",
    "Exported",
    "Imported",
    "ObjectBegin",
    "ObjectChanged",
    "ObjectContents",
    "Outcome",
    "Section",
    "Written",
    "at",
    "check_dump",
    "export_pool",
    "import_pool",
    "in_order",
    "in_thread",
    "objects_of",
    "piece_size",
    "read_object",
    "write_object",
]
