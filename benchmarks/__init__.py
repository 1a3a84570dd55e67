"""Benchmarks: the rows against each other, fastconv against its peers, and the calibration."""
