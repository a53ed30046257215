"""Bytes of untrusted files to plain arrays and records: one file for each format.

Nothing that a file names is imported or called, and sizes are checked before memory is taken. Whatever the bytes
are, a reader gives what they hold or raises a `portable_nn.FormatError`.
"""
