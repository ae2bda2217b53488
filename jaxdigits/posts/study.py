"""Train the networks of the posts with several seeds, as one program."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, UInt8

from jaxdigits.config import TrainConfig
from jaxdigits.data import Dataset
from jaxdigits.environment import compiler_options
from jaxdigits.evaluation.metrics import confusion_matrix, per_class_accuracy
from jaxdigits.evaluation.robustness import accuracies_jittered
from jaxdigits.models import Params, make_model
from jaxdigits.training.resolve import fit_scaling
from jaxdigits.training.sharding import make_mesh, replicate
from jaxdigits.training.state import TrainingData, TrainResult
from jaxdigits.training.trainer import compute_logits, make_train, make_trainer
from jaxdigits.transforms.scaling import Scaling, scale_inputs

SGD = TrainConfig(model="linear", optimizer="sgd", schedule="constant", learning_rate=1.0)
"""How most rows train, in batches of 64, but for the learning rate."""

SEEDS = "seeds"
"""The name of the mesh's axis."""


@dataclass(frozen=True, eq=False)
class Trained:
    """Networks trained with each of the seeds.

    Attributes:
        config: the settings.
        params: with an axis of seeds in front.
        scaling: of the pixels.
        untrained: accuracy on the test images before the first step, float64 [seeds], 0..1.
        accuracy: the same after each epoch, [seeds, epochs].
        loss: the mean over the training examples in each epoch, [seeds, epochs].
        seconds: of all seeds together, without compiling.
        seconds_alone: of one seed after another, estimated from the fastest of six epochs; None
            for convolutional networks, whose epochs take long.
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
    """The data and the seeds of a reproduction, and the networks trained so far.

    The posts train on all official training images and look at the test images after each epoch;
    so here too. Nothing is chosen by them.

    Attributes:
        train_set, test_set: the official parts of the dataset.
        data: both on the device; `validation` is the official test part.
        seeds: the number of seeds of this experiment.
        keys: a random key for each, the same in every experiment.
        trained: by name.
        compares: whether the data are those of the posts, so that there is something to compare.
    """

    def __init__(self, train_set: Dataset, test_set: Dataset, seeds: int, compares: bool) -> None:
        """Put the splits `train+validation` and `test` on the device; seeds count from 0."""
        self.train_set, self.test_set, self.compares = train_set, test_set, compares
        self.data = jax.device_put(TrainingData.from_datasets(train_set, test_set))
        self.trained: dict[str, Trained] = {}
        self._jittered: dict[tuple[Trained, int], np.ndarray] = {}
        self.seeds = 0
        self.set_seeds(seeds)

    def set_seeds(self, seeds: int) -> None:
        """Run the following experiments with this many seeds; trained networks stay."""
        if seeds == self.seeds:
            return  # the data are on the devices already
        self.seeds = seeds
        self.keys = jax.vmap(jax.random.key)(jnp.arange(seeds))
        self._mesh = make_mesh(jax.devices(), min(seeds, jax.device_count()), SEEDS)
        self._replicated_data = replicate(self.data, self._mesh)

    def train(
        self,
        name: str,
        config: TrainConfig,
        *,
        params: Params | None = None,
        optimizer: optax.GradientTransformation | None = None,
        vectorize: bool = True,
    ) -> Trained:
        """Train with all seeds as one program, or return what was trained before by that name.

        The seeds are sharded over the devices; those of one device are vmapped, or follow each
        other. On one device vmap made the linear rows 1.5x as fast and the others no faster; with
        both cores busy it gains a few percent, and loses 10% in row B6.

        Args:
            name: such as the row.
            config: the settings.
            params: to start from, with an axis of seeds in front, instead of the model's own.
            optimizer: instead of the config's.
            vectorize: whether to vmap.

        Raises:
            ValueError: something else was trained by that name.
        """
        if name in self.trained:
            if self.trained[name].config != config:
                raise ValueError(f"{name} was trained with other settings")
            return self.trained[name]
        convolutional = config.model in ("convnet", "resnet18")
        # Each device gets the same number of seeds: the first ones again, which are dropped.
        surplus = -self.seeds % self._mesh.size
        starts = jax.tree.map(
            lambda leaf: jnp.concatenate([leaf, leaf[:surplus]]), (self.keys, params)
        )
        function = jax.jit(
            self._sharded(make_train(config, optimizer=optimizer), vectorize),
            compiler_options=compiler_options(self._mesh if convolutional else None),
        )
        program = function.lower(starts, self._replicated_data).compile()
        # One seed alone is timed before and after, as other work may slow either moment.
        alone = iter(()) if convolutional else self._epochs_alone(config, optimizer)
        epochs_alone = [*islice(alone, 3)]
        result, seconds = _timed(program, starts, self._replicated_data)
        epochs_alone += islice(alone, 3)
        state, untrained, history = jax.tree.map(
            lambda leaf: leaf[: self.seeds], jax.device_get(result)
        )
        epochs = self.seeds * history.train.loss.shape[1]
        self.trained[name] = Trained(
            config=config,
            params=state.trained,
            scaling=fit_scaling(config.scale, self.data.train.images),
            untrained=untrained.accuracy.astype(np.float64),
            accuracy=history.validation.accuracy.astype(np.float64),
            loss=history.train.loss.astype(np.float64),
            seconds=seconds,
            seconds_alone=epochs * min(epochs_alone) if epochs_alone else None,
        )
        return self.trained[name]

    def _sharded(self, train: Any, vectorize: bool) -> Any:
        """`(starts, data) -> results` of all seeds, a share of them on each device."""

        def train_share(starts: tuple[Array, Params | None], data: TrainingData) -> TrainResult:
            def train_one(start: tuple[Array, Params | None]) -> TrainResult:
                return train(start[0], data, start[1])

            return jax.vmap(train_one)(starts) if vectorize else lax.map(train_one, starts)

        sharded, replicated = PartitionSpec(SEEDS), PartitionSpec()
        return jax.shard_map(
            train_share,
            mesh=self._mesh,
            in_specs=(sharded, replicated),
            out_specs=sharded,
            check_vma=False,
        )

    def _epochs_alone(
        self, config: TrainConfig, optimizer: optax.GradientTransformation | None
    ) -> Iterator[float]:
        """The seconds of one epoch of one seed after another, for as long as somebody asks."""
        trainer = make_trainer(config, self.data, optimizer=optimizer)
        if not trainer.num_epochs:
            return
        state = jax.jit(trainer.init)(self.keys[0])
        epoch = jax.jit(trainer.epoch, donate_argnums=0).lower(state, self.data).compile()
        while True:
            (state, _), seconds = _timed(epoch, state, self.data)
            yield seconds

    def logits(
        self, trained: Trained, images: UInt8[np.ndarray | Array, "n 28 28"], seed: int = 0
    ) -> Float[np.ndarray, "n classes"]:
        """The logits of images, pixels 0..255, by the network of one seed."""
        params = jax.tree.map(lambda leaf: leaf[seed], trained.params)
        num_classes = self.data.num_classes
        return np.asarray(_logits(trained.config, num_classes, params, trained.scaling, images))

    def jittered_accuracy(self, trained: Trained, draws: int = 3) -> Float[np.ndarray, " seeds"]:
        """The accuracy of each seed's network on slightly moved test images: post C row C5.

        The mean over some draws, the same for all networks.
        """
        test = self.test_set

        def of_seed(seed: int) -> list[float]:
            def predict(images: Any) -> np.ndarray:
                return self.logits(trained, images, seed).argmax(axis=-1)

            return accuracies_jittered(predict, test.images, test.labels, draws)

        key = trained, draws
        if key not in self._jittered:  # a row and its picture ask for the same
            found = [of_seed(seed) for seed in range(len(trained.untrained))]
            self._jittered[key] = np.array(found).mean(axis=1)
        return self._jittered[key]

    def accuracy_per_class(self, trained: Trained, seed: int = 0) -> Float[np.ndarray, " classes"]:
        """The accuracy on the test images of each class, by the network of one seed."""
        logits = self.logits(trained, self.test_set.images, seed)
        return per_class_accuracy(
            confusion_matrix(jnp.asarray(logits), self.data.validation.labels)
        )


@partial(jax.jit, static_argnums=(0, 1))
def _logits(
    config: TrainConfig, num_classes: int, params: Params, scaling: Scaling, images: Array
) -> Array:
    scale = partial(scale_inputs, scaling=scaling, scale=config.scale)
    return compute_logits(make_model(config, num_classes).apply, params, scale, images)


def _timed(function: Any, *arguments: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    return result, time.perf_counter() - start
