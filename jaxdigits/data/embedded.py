"""The dataset that needs no download: 1,797 handwritten digits, kept in the package.

They are the test part of the UCI "Optical Recognition of Handwritten Digits" set (Alpaydin and
Kaynak, 1998): 8x8 images of 0..16, written by 13 people. `DIGITS.md` states source and license.
"""

import string
from importlib import resources

import numpy as np
from jaxtyping import Int32, UInt8

NAME = "digits"
TITLE = "1,797 handwritten digits (Alpaydin, Kaynak); included, no download"
CLASS_NAMES = tuple(string.digits)
TRAIN_COUNT, TEST_COUNT = 1_437, 360


def read() -> tuple[UInt8[np.ndarray, "1797 28 28"], Int32[np.ndarray, " 1797"]]:
    """Read the images, brought to 28x28 in the manner of MNIST, and their labels 0..9.

    MNIST scales a digit to a box of 20x20 and puts its center of mass in the middle of 28x28. The
    8x8 images fill their box already, so they are enlarged to 20x20 (bicubic), their 0..16
    stretched to 0..255, and moved by whole pixels. A network trained on MNIST (784-128-10) reads
    86% of them; without the move it reads 79%.

    Each writer's digits stand together: the last `TEST_COUNT` images are the test set, so most of
    its writers are not in the training set.

    Example:
        >>> images, labels = read()
        >>> images.shape, images.dtype, labels[:10].tolist()
        ((1797, 28, 28), dtype('uint8'), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    from PIL import Image
    from scipy.ndimage import center_of_mass, shift

    with resources.files("jaxdigits.data").joinpath("digits.npz").open("rb") as file:
        stored = np.load(file, allow_pickle=False)
        pixels, labels = stored["images"], stored["labels"]
    small = np.round(pixels * (255 / 16)).astype(np.uint8)
    images = np.zeros((len(small), 28, 28), np.uint8)
    for image, source in zip(images, small, strict=True):
        enlarged = Image.fromarray(source).resize((20, 20), Image.Resampling.BICUBIC)
        image[4:24, 4:24] = np.asarray(enlarged)
        offset = 13.5 - np.array(center_of_mass(image))
        image[:] = shift(image, np.round(offset), order=0)
    return images, labels.astype(np.int32)
