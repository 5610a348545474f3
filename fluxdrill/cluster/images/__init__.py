"""Container images without a registry: made of pinned programs and Debian packages, as files, without an engine."""
