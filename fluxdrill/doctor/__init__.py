"""Look at this machine before a lab does: what is found, whether it will do, and what to do where it will not."""
