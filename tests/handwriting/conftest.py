"""Fixtures of reading."""

import jax
import numpy as np
import pytest

from jaxdigits.handwriting import marks
from jaxdigits.runs.folder import shipped_params


@pytest.fixture(scope="module", autouse=True)
def _fast_page_network() -> None:
    """Optimize the program that finds characters, as for a user: it runs thousands of times."""
    usual = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    pixels = np.zeros((marks.TILE, marks.TILE, 4), np.uint8)
    jax.block_until_ready(marks._apply(shipped_params("page"), pixels))
    jax.config.update("jax_disable_most_optimizations", usual)
