"""The servers that feed a lab, each with fault switches."""
