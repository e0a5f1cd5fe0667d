"""Run the command line as ``python -m stellarfm``."""

import sys

from stellarfm.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
