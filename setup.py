"""The build of Cove: pure Python, unless COVE_COMPILE=1 asks for its hot modules to be compiled as well.

    COVE_COMPILE=1 pip install .        or   COVE_COMPILE=1 pip wheel .

`COMPILED` are ordinary modules, typed, with one source; mypyc turns them into extensions that Python prefers to the
`.py` files beside them. Where there is no C compiler the extensions are left out, and everything works as before.
What is left interpreted is so for a reason: modules that check what a user gives them (`operations.py`), that derive
from interpreted classes (messages, `TcpStream`), or that take no part in an operation.
"""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

COMPILED = (
    "cove.wire.crc",
    "cove.wire.encoding",
    "cove.wire.frame_crypto",
    "cove.wire.frames",
    "cove.wire.hashing",
    "cove.wire.link",
    "cove.wire.link_events",
    "cove.wire.message_codec",
    "cove.wire.op_codec",
    "cove.wire.session",
    "cove.wire.types",
    "cove.messenger.dispatch",
    "cove.rados.backoff",
    "cove.rados.completion",
    "cove.rados.delivery",
    "cove.rados.keepalive",
    "cove.rados.maps",
    "cove.rados.objecter",
    "cove.rados.results",
    "cove.rados.session",
    "cove.rados.target",
    "cove.rados.throttle",
    "cove.rados.trace",
)
"""What an operation goes through, and the classes that those derive from."""


class AllOrNone(build_ext):
    """Extensions that share a library: without one of them (no compiler, or it failed) none is kept."""

    def run(self) -> None:
        """Compile; an extension that fails is only warned of."""
        super().run()
        paths = [Path(self.get_ext_fullpath(extension.name)) for extension in self.extensions]
        if not all(path.exists() for path in paths):
            for path in paths:
                path.unlink(missing_ok=True)


def extensions() -> list[Extension]:
    """The compiled modules, and the library that they share."""
    from mypyc.build import mypycify

    os.environ["MYPYPATH"] = "src"
    paths = [f"src/{module.replace('.', '/')}.py" for module in COMPILED]
    options = ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent", "--cache-dir=build/mypy"]
    found: list[Extension] = mypycify([*options, *paths], target_dir="build/mypyc", debug_level="0", group_name="cove")
    for extension in found:
        extension.optional = True
    return found


def arguments() -> dict[str, Any]:
    """What `setup` is told besides pyproject.toml."""
    if os.environ.get("COVE_COMPILE", "0") in ("", "0"):
        return {}
    # mypyc comes with mypy. An isolated build asks for what it needs first, and fetches it.
    wanted = {"setup_requires": ["mypy>=1.15,<3"]}
    if find_spec("mypyc") is None:
        return wanted
    return wanted | {"ext_modules": extensions(), "cmdclass": {"build_ext": AllOrNone}}


setup(**arguments())
