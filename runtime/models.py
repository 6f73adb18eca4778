"""`python -m ftc.runtime.models`: a base from elsewhere than the Hub, for convert.sh."""

from .model.download import main

if __name__ == "__main__":
    main()
