"""Recipes that are fast, not thorough: what `jaxdigits bench time-to` runs."""
