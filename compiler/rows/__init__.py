"""Data files as far as the compiler looks: formats, columns, counts."""
