"""What each dataset is: its files, where they come from, their hashes, its classes.

Addresses, sizes and SHA-256 hashes are those that tensorflow-datasets records (a test compares
them). They stand here too so that a missing or damaged file is named at once, without importing
tensorflow-datasets.
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from jaxdigits.data.dataset import Fingerprint
from jaxdigits.data.splits import split_counts

ROLES = MappingProxyType({"train-images": 3, "train-labels": 1, "test-images": 3, "test-labels": 1})
"""The four IDX files of a dataset, by what they hold, and the rank of each."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to download: its address, its size in bytes and its SHA-256 hash in hex."""

    url: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The last part of the address, which is also the file's name on disk."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset of 28x28 gray images in the IDX format.

    Attributes:
        name: what the command line and `load` call it, such as `emnist/letters`.
        title: one line for people.
        class_names: the names of the classes, in the order of the labels from 0.
        counts: official numbers of training and test images.
        files: for each role in `ROLES`, the name of the gzipped IDX file.
        remote: the files to download, by name: the IDX files, or one archive that holds them.
        form: see `jaxdigits.data.Dataset`.
        first_label: the label on disk of class 0.
        transposed: whether the images on disk have rows and columns exchanged.
    """

    name: str
    title: str
    class_names: tuple[str, ...]
    counts: tuple[int, int]
    files: Mapping[str, str]
    remote: Mapping[str, RemoteFile]
    form: str
    first_label: int = 0
    transposed: bool = False

    @property
    def archive(self) -> RemoteFile | None:
        """The archive that holds the IDX files, or None where they are downloaded one by one."""
        first = next(iter(self.remote.values()))
        return None if first.name in self.files.values() else first


_MNIST_FILES = MappingProxyType(
    {
        "train-images": "train-images-idx3-ubyte.gz",
        "train-labels": "train-labels-idx1-ubyte.gz",
        "test-images": "t10k-images-idx3-ubyte.gz",
        "test-labels": "t10k-labels-idx1-ubyte.gz",
    }
)

_MNIST_SUMS = """
mnist train-images 9912422 440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609
mnist train-labels 28881 3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c
mnist test-images 1648877 8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6
mnist test-labels 4542 f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6
fashion_mnist train-images 26421880 3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84
fashion_mnist train-labels 29515 a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845
fashion_mnist test-images 4422102 346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073
fashion_mnist test-labels 5148 67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5
kmnist train-images 18165135 51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4
kmnist train-labels 29497 e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17
kmnist test-images 3041136 edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5
kmnist test-labels 5120 20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c
"""
"""Bytes and SHA-256 hash of each file."""


def _mnist_like(
    name: str, title: str, base_url: str, class_names: tuple[str, ...] = tuple(string.digits)
) -> DatasetSpec:
    remote = {}
    for row in _MNIST_SUMS.strip().splitlines():
        dataset, role, size, sha256 = row.split()
        if dataset == name:
            file = _MNIST_FILES[role]
            remote[file] = RemoteFile(base_url + file, int(size), sha256)
    return DatasetSpec(name, title, class_names, (60_000, 10_000), _MNIST_FILES, remote, "mnist")


_EMNIST_ARCHIVE = RemoteFile(
    "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
    561_753_746,
    "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
)
_BY_CLASS = tuple(string.digits + string.ascii_uppercase + string.ascii_lowercase)
# By-merge and balanced join the lower-case letters that look like their capitals.
_BY_MERGE = tuple(string.digits + string.ascii_uppercase + "abdefghnqrt")


def _emnist(
    split: str,
    title: str,
    class_names: tuple[str, ...],
    counts: tuple[int, int],
    first_label: int = 0,
) -> DatasetSpec:
    return DatasetSpec(
        name=f"emnist/{split}",
        title=title,
        class_names=class_names,
        counts=counts,
        files={role: f"emnist-{split}-{role}-idx{rank}-ubyte.gz" for role, rank in ROLES.items()},
        remote={_EMNIST_ARCHIVE.name: _EMNIST_ARCHIVE},
        form="emnist",
        first_label=first_label,
        transposed=True,
    )


_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker")

_SPECS = (
    _mnist_like(
        "mnist",
        "handwritten digits (LeCun, Cortes, Burges)",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    _mnist_like(
        "fashion_mnist",
        "articles of clothing (Xiao, Rasul, Vollgraf)",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        (*_CLOTHES, "Bag", "Ankle boot"),
    ),
    _mnist_like(
        "kmnist",
        "cursive Japanese characters (Clanuwat et al.)",
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    ),
    _emnist(
        "letters",
        "letters, both cases in one class (Cohen et al.)",
        tuple(string.ascii_lowercase),
        (124_800, 20_800),
        first_label=1,
    ),
    _emnist("balanced", "digits and letters, equal numbers of each", _BY_MERGE, (112_800, 18_800)),
    _emnist("byclass", "digits, capitals and small letters", _BY_CLASS, (697_932, 116_323)),
    _emnist("bymerge", "digits and letters, look-alikes merged", _BY_MERGE, (697_932, 116_323)),
    _emnist("digits", "digits", tuple(string.digits), (240_000, 40_000)),
    _emnist("mnist", "digits, as many as MNIST", tuple(string.digits), (60_000, 10_000)),
)

SPECS: Mapping[str, DatasetSpec] = MappingProxyType({spec.name: spec for spec in _SPECS})
"""Every dataset that comes from files, by name."""


def is_official(fingerprint: Fingerprint) -> bool:
    """Whether a dataset has as many images as its makers say."""
    spec = SPECS.get(fingerprint.name)
    return spec is not None and fingerprint.counts == split_counts(*spec.counts)
