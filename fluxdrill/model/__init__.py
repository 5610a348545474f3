"""Pure rules and data: nothing in here does I/O."""
