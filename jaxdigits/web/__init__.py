"""The page to draw on, served to this machine alone: `jaxdigits draw`."""

from jaxdigits.web.server import PageServer

__all__ = ["PageServer"]
