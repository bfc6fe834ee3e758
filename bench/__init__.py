"""Benchmarks: each prints a table and a JSON line. None is part of the tests."""
