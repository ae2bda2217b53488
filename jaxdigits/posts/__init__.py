"""The results of the posts, an experiment per row, in the order of the posts.

Post A builds a network from scratch and then in PyTorch; post B compares a pixel baseline, three
losses, a small network, and ResNet-18; post C reads letters with a convolutional network, and sees
it fail on images that are slightly moved. `jaxdigits reproduce` runs the experiments, and
`python -m jaxdigits.posts.a4` a single one, epoch by epoch.

An experiment is a module such as `a4.py`. Its docstring says what the post did, what it posted, and
what to expect. It has

- `SETUP`, the set-up in a few words,
- `run(study)`, which returns a list of `Comparison`,
- `DATA`, if it is not about MNIST: `letters` or `emnist/digits`,
- `SEEDS`, the most that it is run with, where training takes minutes,
- `POSTED_ACCURACY`, if the post has a curve: a list from epoch 1, or a mapping by epoch,
- `PICTURES`, if it draws any: functions of the study by file name, captioned by their docstrings.
"""

from collections.abc import Mapping, Sequence

from jaxdigits.posts.comparison import Comparison
from jaxdigits.posts.study import SGD, Study, Trained

__all__ = ["SGD", "Comparison", "Study", "Trained", "by_epoch", "percent"]


def by_epoch(posted: Sequence[float] | Mapping[int, float]) -> Mapping[int, float]:
    """What is posted after each epoch, from 1."""
    return posted if isinstance(posted, Mapping) else dict(enumerate(posted, start=1))


def percent(accuracy: Sequence[float] | Mapping[int, float]) -> dict[int, float]:
    """The same in percent: for a picture's dots."""
    return {epoch: 100 * value for epoch, value in by_epoch(accuracy).items()}
