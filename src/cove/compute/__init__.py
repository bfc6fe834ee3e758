"""Compute: an instance from request to lease. Port, disk, tap, QEMU, console, and the undo of each."""
