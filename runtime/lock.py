"""Is this still the run that was compiled? `python -m ftc.runtime.lock` is what launch.sh starts first."""

from .process.lock import main

if __name__ == "__main__":
    main()
