"""Docstrings as griffe knows them: it parses a section of examples only if it is called so."""

from typing import Any

import griffe


class Sections(griffe.Extension):
    """Call each `Example:` an `Examples:`."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object that was found."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("Example:\n", "Examples:\n")
