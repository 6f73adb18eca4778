"""From a path to a compiled run: load, validate, resolve, render, verify; and what starts from there."""
