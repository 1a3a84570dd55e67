"""The prices of the cost model, measured: ``python -m benchmarks.calibrate --help``."""

import os

# One thread means one: NumPy's matrix products take as many as there are, and read this only
# when NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
