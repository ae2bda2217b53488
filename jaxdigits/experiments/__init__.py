"""The experiments of `jaxdigits reproduce`.

In the wheel they lie in this folder; in a clone of the repository in its folder `experiments/`,
where they can be read beside the posts.
"""

from pathlib import Path

__path__.append(str(Path(__file__).parents[2] / "experiments"))
