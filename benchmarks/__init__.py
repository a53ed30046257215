"""Measurements of portable_nn against other libraries and against the hardware: ``python -m benchmarks``."""
