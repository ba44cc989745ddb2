"""`python -m gateway` runs the master."""

import sys

from gateway.processes.master import main

if __name__ == "__main__":
    sys.exit(main())
