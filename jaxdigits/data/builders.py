"""Builders for tensorflow-datasets that need no TensorFlow.

The library's own MNIST builders need TensorFlow to extract and to encode. These keep the pixels as
plain tensors in array_record files, so that neither writing nor reading imports it:

    import tensorflow_datasets as tfds
    import jaxdigits.data.builders    # registers jaxdigits_mnist, jaxdigits_emnist/letters, ...
    source = tfds.data_source("jaxdigits_mnist", split="train")

`jaxdigits.data.prepare` is the usual way to run them. Beside the records a builder writes the same
images as plain arrays, which load in a fraction of a second (see `jaxdigits.data.arrays`).
"""

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from jaxdigits.data import arrays
from jaxdigits.data.downloads import download
from jaxdigits.data.idx import read_idx
from jaxdigits.data.sources import missing_files
from jaxdigits.data.specs import ROLES, SPECS, DatasetSpec
from jaxdigits.errors import DataError
from jaxdigits.files import file_sum


class _IdxBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Build one dataset from its four IDX files."""

    VERSION = tfds.core.Version(arrays.VERSION)
    local_files: Mapping[str, Path] = {}
    """Verified local files by name; what is not among them is downloaded."""

    @property
    def spec(self) -> DatasetSpec:
        name = self.name.removeprefix("jaxdigits_")
        config = self.builder_config
        return SPECS[f"{name}/{config.name}" if config else name]

    def _info(self) -> tfds.core.DatasetInfo:
        spec = self.spec
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{spec.title}. Upright, labels from 0, counts from the files' headers.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(shape=(28, 28), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(names=spec.class_names),
                }
            ),
            supervised_keys=("image", "label"),
            disable_shuffling=True,  # record i is image i of the file
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        spec = self.spec
        local = dict(self.local_files)
        # The library's own downloads wait forever for a host that stalls.
        local |= download(spec, missing_files(spec, local), Path(dl_manager.download_dir))
        splits = read_splits(spec, local)
        # tensorflow-datasets renames the folder to its final name when all is written, so the
        # arrays and the records appear together or not at all.
        sums = {
            name: spec.remote[name].sha256 if name in spec.remote else file_sum(path)
            for name, path in local.items()
        }
        arrays.write(Path(self.data_dir), spec, splits, sums)
        return {split: self._generate_examples(*pair) for split, pair in splits.items()}

    def _generate_examples(
        self, images: np.ndarray, labels: np.ndarray
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            yield index, {"image": image, "label": label}


class JaxdigitsMnist(_IdxBuilder):
    """MNIST."""


class JaxdigitsFashionMnist(_IdxBuilder):
    """Fashion-MNIST."""


class JaxdigitsKmnist(_IdxBuilder):
    """Kuzushiji-MNIST."""


class JaxdigitsEmnist(_IdxBuilder):
    """EMNIST, each of its splits a config."""

    BUILDER_CONFIGS = [  # noqa: RUF012 (the base class declares it so)
        tfds.core.BuilderConfig(name=name.removeprefix("emnist/"), description=spec.title)
        for name, spec in SPECS.items()
        if name.startswith("emnist/")
    ]


def builder_for(spec: DatasetSpec, data_dir: Path) -> _IdxBuilder:
    """Make the builder of a dataset, writing array_record files below `data_dir`."""
    name, _, config = spec.name.partition("/")
    builder = tfds.builder(
        f"jaxdigits_{name}{'/' + config if config else ''}",
        data_dir=str(data_dir),
        file_format="array_record",
    )
    assert isinstance(builder, _IdxBuilder)
    return builder


def read_splits(
    spec: DatasetSpec, files: Mapping[str, Path]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read the official splits: `{"train": (images, labels), "test": ...}`.

    Args:
        spec: the dataset.
        files: the four IDX files by name, or the archive that holds them.

    Returns:
        For each split images, uint8 [n, 28, 28], upright, and labels, int32 [n], from 0.

    Raises:
        DataError: a file is damaged, or images and labels do not belong together.
    """
    raw: dict[str, np.ndarray] = {}
    for role, rank in ROLES.items():
        name = spec.files[role]
        if name in files:
            raw[role] = read_idx(files[name], rank)
        else:
            assert spec.archive is not None
            archive = files[spec.archive.name]
            with zipfile.ZipFile(archive) as zipped:
                member = io.BytesIO(zipped.read(f"gzip/{name}"))
            raw[role] = read_idx(member, rank, f"{name} in {archive}")
    return {
        split: _to_upright(spec, raw[f"{split}-images"], raw[f"{split}-labels"], split)
        for split in ("train", "test")
    }


def _to_upright(
    spec: DatasetSpec, images: np.ndarray, labels: np.ndarray, split: str
) -> tuple[np.ndarray, np.ndarray]:
    """Check arrays as they are on disk; make images upright, and labels start from 0."""
    name = spec.files[f"{split}-images"]
    if images.shape[1:] != (28, 28):
        raise DataError(f"{name} holds images of {images.shape[1:]} pixels; expected 28x28")
    if len(images) != len(labels):
        raise DataError(
            f"{name} holds {len(images)} images, the file of their labels {len(labels)} labels: "
            "they are not of the same dataset, or one is damaged"
        )
    if len(images) == 0:
        raise DataError(f"{name} holds no image")
    low, high = spec.first_label, spec.first_label + len(spec.class_names) - 1
    if labels.min() < low or labels.max() > high:
        raise DataError(
            f"the labels beside {name} run from {labels.min()} to {labels.max()}, those of "
            f"{spec.name} from {low} to {high}: they are of another dataset"
        )
    if spec.transposed:
        images = images.transpose(0, 2, 1)
    return np.ascontiguousarray(images), labels.astype(np.int32) - np.int32(spec.first_label)
