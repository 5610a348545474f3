"""Pinned binaries: read the pins, build what is missing, find what is there."""
