"""The pytest plugin: fixtures that hand out labs, and live progress while one starts."""
