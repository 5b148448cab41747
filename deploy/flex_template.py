"""The file that a Flex Template's launcher runs: it starts a file, not a module."""

import sys

from pipeline.flex_template.launcher import main

if __name__ == "__main__":
    sys.exit(main())
