"""The language: its tables and keys, a file a table, and what the language says about itself."""
