"""Functions of SciPy's."""
