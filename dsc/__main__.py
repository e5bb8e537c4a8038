"""Runs the command line: ``python -m dsc``."""

from dsc.cli import main

if __name__ == "__main__":
    main()
