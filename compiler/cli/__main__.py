"""`python -m ftc.compiler.cli` is what `ftc` is."""

from .commands import main

main()
