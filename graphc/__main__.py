"""``python -m graphc``: see what is in a file that declares a model."""

import sys

from graphc.command.parser import main

if __name__ == "__main__":
    sys.exit(main())
