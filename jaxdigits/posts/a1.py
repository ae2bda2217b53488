"""A1: the mean and the standard deviation of the training pixels.

Post A, "Normalize the data". The post stacks all 60,000 training images as tensors of 0..1, takes
the mean and the standard deviation over all pixels, and standardizes the images with them.

Posted: 0.1307 and 0.3081; after standardizing -1.6e-09 and 1.0000.
Expect: the same digits. There is no chance in it.
"""

import jax
import numpy as np

from jaxdigits.posts import Comparison, Study
from jaxdigits.transforms.scaling import pixel_statistics, scale_pixels

SETUP = "mean and deviation of the training pixels, in 0..1"


def run(study: Study) -> list[Comparison]:
    """The statistics on the device, and those of the standardized pixels in float64."""
    images = study.data.train.images
    scaling = jax.jit(pixel_statistics)(images)
    # 47 million numbers: the mean of each image in float32, the mean of the means in float64.
    standardized = jax.jit(scale_pixels)(images, scaling)
    means = np.asarray(standardized.mean(axis=(1, 2)), np.float64)
    squares = np.asarray((standardized**2).mean(axis=(1, 2)), np.float64)
    mean = means.mean()
    return [
        Comparison.exact("mean", float(scaling.mean), "0.1307"),
        Comparison.exact("standard deviation", float(scaling.std), "0.3081"),
        Comparison.exact("mean, standardized", mean, "0.0000"),
        Comparison.exact("deviation, standardized", np.sqrt(squares.mean() - mean**2), "1.0000"),
    ]


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
