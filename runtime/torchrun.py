"""`python -m ftc.runtime.torchrun`: torchrun as launch.sh needs it."""

from .process.torchrun import main

if __name__ == "__main__":
    main()
