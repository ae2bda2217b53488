"""What each command of the command line does; `jaxdigits.cli` declares them.

Results are printed by `report`: a text for people, or one JSON object and nothing else.
"""

import json
import sys
from typing import Any


def report(text: str, document: dict[str, Any], *, as_json: bool) -> None:
    """Prints a command's result on standard output, in one of its two forms."""
    print(json.dumps(document, allow_nan=False) if as_json else text)


def note(text: str) -> None:
    """Prints a line that is not a result: on standard error."""
    print(text, file=sys.stderr)
