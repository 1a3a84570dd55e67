"""How exact each convolution is: ``python -m benchmarks.accuracy --help``."""
