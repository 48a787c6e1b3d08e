"""The kernels themselves: functions that Triton compiles, and nothing else. Each module imports Triton."""
