"""Runs the command line: ``python -m dsc``."""

from dsc._cli import main

if __name__ == "__main__":
    main()
