"""`python -m mrsampler`: see `mrsampler.cli`."""

import sys

from mrsampler.cli import main

if __name__ == "__main__":
    sys.exit(main())
