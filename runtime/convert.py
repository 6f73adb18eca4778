"""`python -m ftc.runtime.convert`: what convert.sh starts."""

from .errors import run
from .export.convert import main

if __name__ == "__main__":
    run(main)
