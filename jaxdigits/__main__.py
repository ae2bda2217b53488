"""`python -m jaxdigits` is the command `jaxdigits`."""

import sys

from jaxdigits.cli import main

sys.exit(main())
