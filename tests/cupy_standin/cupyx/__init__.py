"""What comes with CuPy beside NumPy's functions."""
