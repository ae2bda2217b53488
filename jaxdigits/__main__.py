"""`python -m jaxdigits` is the command `jaxdigits`."""

from jaxdigits.cli import program

program()
