"""Pages for a browser: draw a character, and see what a network reads.

| module | what is in it |
|---|---|
| `page` | the page as one file, whose network runs in the browser |
| `server` | the page for any network, served to this machine alone: `jaxdigits draw` |
"""

from jaxdigits.web.page import make_page
from jaxdigits.web.server import PageServer

__all__ = ["PageServer", "make_page"]
