"""The version of ftc, which pyproject.toml reads here."""

VERSION = "0.1.0"
