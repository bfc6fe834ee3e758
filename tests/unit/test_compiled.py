"""The compiled build (`./run-tests compiled`): what setup.py lists is there, and is what is really imported."""

import ast
import importlib
import os
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ON_COMPILED = os.environ.get("COVE_TEST_COMPILED") == "1"


def compiled_modules() -> tuple[str, ...]:
    """`COMPILED` of setup.py, without running it."""
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "COMPILED":
            found: tuple[str, ...] = ast.literal_eval(node.value)
            return found
    raise AssertionError("setup.py has no COMPILED")


def test_all_that_is_compiled_has_a_source() -> None:
    modules = compiled_modules()
    assert len(set(modules)) == len(modules) > 0
    for module in modules:
        assert (ROOT / "src" / (module.replace(".", "/") + ".py")).is_file(), module


@pytest.mark.parametrize("name", compiled_modules())
def test_the_build_under_test_is_the_one_that_is_imported(name: str) -> None:
    path = importlib.import_module(name).__file__
    assert path is not None
    assert path.endswith(tuple(EXTENSION_SUFFIXES)) == ON_COMPILED, path


@pytest.mark.skipif(not ON_COMPILED, reason="needs the compiled build")
def test_an_operation_s_way_is_compiled() -> None:
    from cove.rados.objecter import Objecter
    from cove.wire.frames import FrameReader

    for method in (Objecter.op_submit, Objecter.handle_osd_op_reply, FrameReader.next_frame):
        assert not hasattr(method, "__code__"), method


def test_the_working_tree_has_no_extensions() -> None:
    assert not list((ROOT / "src").rglob("*.so"))
