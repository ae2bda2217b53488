"""What the experiments on the posts' results share: data, seeds, and figures side by side.

An experiment is a module such as `jaxdigits/posts/a4.py`. Its docstring says what the post did,
what it posted and what to expect. It has

- `SETUP`, the set-up in a few words,
- `run(study)`, which gives a list of `Comparison`,
- `DATA`, if it is not about MNIST: `letters` or `emnist/digits`,
- `SEEDS`, the most that it is run with, where a training takes minutes,
- `PICTURES`, if it draws any: functions of the study by file name, captioned by their docstrings.

`jaxdigits reproduce` runs them.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, UInt8

from jaxdigits.config import CONVOLUTIONAL, TrainConfig
from jaxdigits.data import Dataset
from jaxdigits.evaluation.metrics import (
    confusion_matrix,
    mean_interval,
    per_class_accuracy,
    prediction_interval,
)
from jaxdigits.models import Params, make_model
from jaxdigits.training.trainer import (
    TrainingData,
    TrainResult,
    compiler_options,
    compute_logits,
    make_train,
    make_trainer,
)
from jaxdigits.transforms.augment import jittered_copies
from jaxdigits.transforms.scaling import Scaling

MNIST = "039f08633ffed019e1a7730847252cf3c05e6c6c4b4ccc31994c09ef6a5b07ad"
"""The sum over MNIST's images and labels, as `Fingerprint` has it."""


LETTERS = "emnist/letters"
"""The data set of the rows that are about letters, if no other is named."""


@dataclass(frozen=True)
class Comparison:
    """A figure of a post beside ours.

    Attributes:
        what: which figure, in a few words.
        ours: one for each seed; or only one, where there is no chance in it. One figure may be
            several numbers, such as the accuracy of each class.
        posted: the numbers with the digits that the post gives, such as `0.8776`, or a bound, such
            as `< 0.8173`; None for a row that the post has not.
        reason: why it disagrees, in a sentence, for when it does.
        chance: whether other seeds may give other figures.
        at_least: whether to be better agrees as well: the figures of post C, whose program does
            not follow the gradient.
        limits: between which such a figure lies; intervals end there.
        digits: decimals to show; if not given, as many as are posted, or 4.

    Example:
        >>> Comparison("after 1 epoch", [0.84, 0.86, 0.85], "0.8431").agrees
        True
        >>> Comparison("sum", [1.0001], "1.000", chance=False).agrees
        True
    """

    what: str
    ours: Sequence[Any] | Float[np.ndarray, "seeds ..."]
    posted: str | None = None
    reason: str = ""
    chance: bool = True
    at_least: bool = False
    limits: tuple[float, float] = (0.0, 1.0)
    digits: int | None = None

    @property
    def values(self) -> Float[np.ndarray, "seeds numbers"]:
        """Ours, float64: a row for each seed, a column for each number."""
        return np.asarray(self.ours, np.float64).reshape(len(self.ours), -1)

    @property
    def posted_decimals(self) -> int:
        """How many decimals are posted; 4 if nothing is."""
        exponent = Decimal(self.posted.split()[-1]).as_tuple().exponent if self.posted else -4
        assert isinstance(exponent, int)  # else it were "nan"
        return max(-exponent, 0)

    @property
    def agrees(self) -> bool | None:
        """Whether the posted figure is one that we get; None if nothing is posted, or unknown.

        Without chance: whether all digits are the same. With it: whether the posted figure, give or
        take half a unit of its last digit, lies where 95 of 100 further runs of ours would; that is
        not known from one seed. A bound: whether our mean keeps it.
        """
        if self.posted is None:
            return None
        numbers, values = self.posted.split(), self.values
        if not self.chance:
            return np.round(values[0], self.posted_decimals).tolist() == [float(n) for n in numbers]
        posted, half_unit = float(numbers[-1]), 0.5 * 10**-self.posted_decimals
        if numbers[0] == "<":
            return bool(values.mean() < posted)
        if self.at_least:
            return bool(values.mean() >= posted)
        if len(values) == 1:
            return None
        low, high = self._clip(prediction_interval(values[:, 0].tolist()))
        return low - half_unit <= posted <= high + half_unit

    def _clip(self, interval: Sequence[float]) -> list[float]:
        return np.clip(interval, *self.limits).tolist()

    @property
    def decimals(self) -> int:
        """How many decimals to show."""
        return self.posted_decimals if self.digits is None else self.digits

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: intervals only where there is chance, and two seeds or more."""
        ours = self.values.mean(axis=0).tolist()
        document = {
            "what": self.what,
            "posted": self.posted,
            "ours": ours,
            "seeds": len(self.values) if self.chance else None,
            "decimals": self.decimals,
            "agrees": self.agrees,
            "reason": self.reason if self.agrees is False else "",
        }
        if self.chance:
            column = self.values[:, 0].tolist()
            document |= {"values": column, "range": [min(column), max(column)]}
            if len(column) > 1:
                document["interval_95"] = self._clip(mean_interval(column)[1:])
                document["prediction_interval_95"] = self._clip(prediction_interval(column))
        return document


@dataclass(frozen=True, eq=False)
class Trained:
    """A training with each of the seeds.

    Attributes:
        config: the settings.
        params: the parameters at the end, with a leading axis of seeds.
        scaling: of the pixels.
        untrained: accuracy on the test images before the first step, float64 [seeds], 0..1.
        accuracy: the same after each epoch, [seeds, epochs].
        loss: the mean over the training examples in each epoch, [seeds, epochs].
        seconds: of all seeds together, without compiling.
        seconds_alone: of one seed after another, estimated from the fastest of six epochs; None
            where an epoch takes long, and it is not tried.
    """

    config: TrainConfig
    params: Params
    scaling: Scaling
    untrained: Float[np.ndarray, " seeds"]
    accuracy: Float[np.ndarray, "seeds epochs"]
    loss: Float[np.ndarray, "seeds epochs"]
    seconds: float
    seconds_alone: float | None


class Study:
    """The data and the seeds of a reproduction, and what has been trained.

    The posts train on all official training images and look at the test images after each epoch;
    so here too. Nothing is chosen by them.

    Attributes:
        train_set, test_set: the official parts of the data set.
        data: both on the device; `validation` is the official test part.
        seeds: how many, in this experiment.
        keys: a random key for each, the same in every experiment.
        trained: by name.
        compares: whether the data are those of the posts, so that there is something to compare.
    """

    def __init__(self, train_set: Dataset, test_set: Dataset, seeds: int, compares: bool) -> None:
        """Puts the data on the device.

        Args:
            train_set: the split `train+validation`.
            test_set: the split `test`.
            seeds: how many, from 0.
            compares: whether the data are those of the posts.
        """
        self.train_set, self.test_set, self.compares = train_set, test_set, compares
        self.data = jax.device_put(TrainingData.from_datasets(train_set, test_set))
        self.trained: dict[str, Trained] = {}
        self.seeds = 0
        self.set_seeds(seeds)

    def set_seeds(self, seeds: int) -> None:
        """Experiments that follow are run with so many seeds; what is trained stays."""
        if seeds == self.seeds:
            return  # the data are on the devices already
        self.seeds = seeds
        self.keys = jax.vmap(jax.random.key)(jnp.arange(seeds))
        self._mesh = Mesh(np.array(jax.devices()[:seeds]), ("seeds",))
        self._data_everywhere = jax.device_put(
            self.data, NamedSharding(self._mesh, PartitionSpec())
        )

    def train(
        self,
        name: str,
        config: TrainConfig,
        *,
        params: Params | None = None,
        optimizer: optax.GradientTransformation | None = None,
        vectorize: bool = True,
    ) -> Trained:
        """Trains with all seeds as one program, or gives what was trained before by that name.

        The seeds are shared out over the devices; those of one device are vmapped, or follow each
        other. On a device alone vmap made the linear rows 1.5 times faster and the others no
        faster; with both cores busy it gains a few per cent, and loses 10 % in row B6.

        Args:
            name: what to call it, such as the row.
            config: the settings.
            params: to start from, with a leading axis of seeds, in the place of the model's own.
            optimizer: in the place of the config's.
            vectorize: whether to vmap.

        Raises:
            ValueError: something else was trained by that name.
        """
        if name in self.trained and self.trained[name].config != config:
            raise ValueError(f"{name} was trained with other settings")
        if name not in self.trained:
            train = make_train(config, optimizer=optimizer)
            convolutional = config.model in CONVOLUTIONAL
            along, whole = PartitionSpec("seeds"), PartitionSpec()
            # Each device gets as many seeds: the first ones again, if need be, which are dropped.
            surplus = -self.seeds % self._mesh.size
            starts = jax.tree.map(
                lambda leaf: jnp.concatenate([leaf, leaf[:surplus]]), (self.keys, params)
            )

            def train_some(starts: tuple[Array, Params | None], data: TrainingData) -> TrainResult:
                def train_one(start: tuple[Array, Params | None]) -> TrainResult:
                    return train(start[0], data, start[1])

                return jax.vmap(train_one)(starts) if vectorize else lax.map(train_one, starts)

            together = jax.jit(
                jax.shard_map(
                    train_some,
                    mesh=self._mesh,
                    in_specs=(along, whole),
                    out_specs=along,
                    check_vma=False,
                ),
                compiler_options=compiler_options(self._mesh if convolutional else None),
            )
            program = together.lower(starts, self._data_everywhere).compile()
            # One seed alone is timed before and after, as other work may slow either moment.
            # Of a convolutional network that would take minutes.
            alone = iter(()) if convolutional else self._epochs_alone(config, optimizer)
            epochs_alone = [*islice(alone, 3)]
            result, seconds = _timed(program, starts, self._data_everywhere)
            epochs_alone += islice(alone, 3)
            state, untrained, history = jax.tree.map(
                lambda leaf: leaf[: self.seeds], jax.device_get(result)
            )
            self.trained[name] = Trained(
                config=config,
                params=state.trained,
                scaling=state.scaling,
                untrained=untrained.accuracy.astype(np.float64),
                accuracy=history.validation.accuracy.astype(np.float64),
                loss=history.train.loss.astype(np.float64),
                seconds=seconds,
                seconds_alone=self.seeds * history.train.loss.shape[1] * min(epochs_alone)
                if epochs_alone
                else None,
            )
        return self.trained[name]

    def logits(
        self, trained: Trained, images: UInt8[np.ndarray, "n 28 28"], seed: int = 0
    ) -> Float[np.ndarray, "n classes"]:
        """The logits of images, pixels 0..255, by the network of one seed."""
        params, scaling = jax.tree.map(lambda leaf: leaf[seed], (trained.params, trained.scaling))
        return np.asarray(_logits(trained.config, self.data.num_classes, params, scaling, images))

    def accuracy_moved(self, trained: Trained, draws: int = 3) -> Float[np.ndarray, " seeds"]:
        """The accuracy of each seed's network on moved test images: post C row C5.

        The mean over some draws, the same for all networks.
        """
        moved = [*map(np.asarray, jittered_copies(self.data.validation.images, draws))]
        accuracies = [
            [
                (self.logits(trained, images, seed).argmax(axis=-1) == self.test_set.labels).mean()
                for images in moved
            ]
            for seed in range(len(trained.untrained))
        ]
        return np.array(accuracies).mean(axis=1)

    def accuracy_per_class(self, trained: Trained, seed: int = 0) -> Float[np.ndarray, " classes"]:
        """The accuracy on the test images of each class, by the network of one seed."""
        logits = self.logits(trained, self.test_set.images, seed)
        return per_class_accuracy(
            confusion_matrix(jnp.asarray(logits), self.data.validation.labels)
        )

    def _epochs_alone(
        self, config: TrainConfig, optimizer: optax.GradientTransformation | None
    ) -> Iterator[float]:
        """The seconds of each epoch of one seed, for as long as somebody asks."""
        trainer = make_trainer(config, self.data.num_classes, optimizer=optimizer)
        if not trainer.count_epochs(self.data):
            return
        state = jax.jit(trainer.init)(self.keys[0], self.data)
        epoch = jax.jit(trainer.epoch, donate_argnums=0).lower(state, self.data).compile()
        while True:
            (state, _), seconds = _timed(epoch, state, self.data)
            yield seconds


@partial(jax.jit, static_argnums=(0, 1))
def _logits(
    config: TrainConfig, num_classes: int, params: Params, scaling: Scaling, images: Array
) -> Array:
    return compute_logits(make_model(config, num_classes).apply, params, scaling, images)


def _timed(function: Any, *arguments: Any) -> tuple[Any, float]:
    began = time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    return result, time.perf_counter() - began
