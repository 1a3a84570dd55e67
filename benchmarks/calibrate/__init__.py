"""The constants of the cost model, measured: ``python -m benchmarks.calibrate --help``."""
