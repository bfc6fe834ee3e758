"""Cove: a small, sheltered cloud that gives every virtual machine an address and a disk."""

__version__ = "0.1.0"
