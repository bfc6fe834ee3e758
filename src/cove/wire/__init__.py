"""Ceph's encodings, structures and messages: pure functions and classes, no socket, clock or thread."""
