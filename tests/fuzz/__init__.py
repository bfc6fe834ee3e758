"""Fuzz targets: each module has `one_input(data)` and states one invariant about it.

    python -m tests.fuzz.fuzz_frames -max_total_time=60        any arguments of libFuzzer

The modules can be imported without atheris, which only the runner needs; unit tests call the targets with fixed inputs.
"""
