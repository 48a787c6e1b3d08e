"""Functions that look at one case: latency, memory, artifacts, numerics. None writes files or chooses a device."""
