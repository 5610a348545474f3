"""Faults: what can be broken, one module per family."""
