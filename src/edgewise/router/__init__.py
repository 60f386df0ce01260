"""Compiles configuration into the immutable table of routes; explains which route answers and why."""
