"""The command line, a file a command. What a command does lies in the rooms below and returns values."""

from .commands import main

__all__ = ["main"]
