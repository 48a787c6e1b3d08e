"""The article's experiments: networks trained with every upsampler, and what becomes of the checkerboard.

`workflow.run_experiments` does it all; `deconvbench train` is a thin wrapper of it. What it found is read from the
files that it leaves, without torch. No pandas, no figures.
"""
