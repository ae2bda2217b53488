"""The results of the posts, an experiment per row, in the order of the posts.

Post A builds a network from scratch and then in PyTorch; post B compares a pixel baseline, three
losses, a small network, and ResNet-18; post C reads letters with a convolutional network, and sees
it fail on images that are slightly moved. `jaxdigits reproduce` runs the experiments.

An experiment is a module such as `a4.py`. Its docstring says what the post did, what it posted, and
what to expect. It has

- `SETUP`, the set-up in a few words,
- `run(study)`, which returns a list of `Comparison`,
- `DATA`, if it is not about MNIST: `letters` or `emnist/digits`,
- `SEEDS`, the most that it is run with, where training takes minutes,
- `PICTURES`, if it draws any: functions of the study by file name, captioned by their docstrings.
"""

from jaxdigits.posts.comparison import Comparison
from jaxdigits.posts.study import SGD, Study, Trained

__all__ = ["SGD", "Comparison", "Study", "Trained"]
