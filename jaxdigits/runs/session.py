"""A run from its data to its folder: what `epochs` and `fit` drive."""

import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from jaxdigits import data as datasets
from jaxdigits.config import CheckpointConfig, TrainConfig
from jaxdigits.data import Dataset, StoredSplit
from jaxdigits.errors import ConfigError
from jaxdigits.files import NewFolder, StrPath, staged_directory, unfinished
from jaxdigits.losses import Loss
from jaxdigits.models import Model, make_model
from jaxdigits.runs import multihost
from jaxdigits.runs.checkpoints import write_manifest
from jaxdigits.runs.fine_tuning import adopt, check_start
from jaxdigits.runs.folder import KNOWN_FILES, RUN_FILE, load, save
from jaxdigits.runs.inputs import (
    InMemory,
    InputPipeline,
    Streamed,
    stored_statistics,
)
from jaxdigits.runs.log import check_tensorboard
from jaxdigits.runs.loop import Progress, ProgressBar, announcement, train_loop
from jaxdigits.runs.make_run import make_run
from jaxdigits.runs.pictures import draw
from jaxdigits.runs.resume import (
    CheckpointHook,
    check_data,
    describe,
    drop_checkpoints,
    final_of,
    find_manifest,
    manifest_config,
    resumable,
    resume_command,
    resumed_devices,
)
from jaxdigits.runs.run import Run, measure
from jaxdigits.training.resolve import DataSpec, fit_scaling
from jaxdigits.training.sharding import default_mesh, num_devices
from jaxdigits.training.state import TrainingData, TrainState
from jaxdigits.training.trainer import make_trainer
from jaxdigits.transforms.augment import Augment
from jaxdigits.transforms.scaling import UNIT, Scaling

logger = logging.getLogger("jaxdigits")

PARTS = ("model", "loss", "optimizer", "augment")
"""That may be your own."""

IN_MEMORY = "memory"
"""What the manifest says of a run to start from that lies in no folder."""

Data = Mapping[Any, Dataset]
"""The splits `train`, `validation`, and perhaps `test`: see `jaxdigits.data.from_arrays`."""


class Split(NamedTuple):
    """The metrics of an epoch on a split.

    Attributes:
        loss: the mean per example; None where it isn't finite.
        accuracy: 0..1.
    """

    loss: float | None
    accuracy: float


class Epoch(NamedTuple):
    """An epoch that is done.

    Attributes:
        number: from 1.
        train: metrics over its batches, each before the step that it led to.
        validation: metrics after it.
        seconds: that it took.
        state: of the run; overwritten when the next epoch begins.
        make_run: see `run`.
    """

    number: int
    train: Split
    validation: Split
    seconds: float
    state: TrainState
    make_run: Callable[[], Run]

    def run(self) -> Run:
        """Make a run of the network as it is now, measured on the validation split."""
        return self.make_run()


class Options(TypedDict, total=False):
    """The options of `epochs`, `fit`, and `resume`, explained in `epochs`."""

    model: Model | None
    loss: Loss | None
    optimizer: optax.GradientTransformation | None
    augment: Augment | None
    folder: StrPath | None
    resume: bool
    overwrite: bool
    init_from: Run | StrPath | None
    mesh: Mesh | None
    devices: int | None
    saving: CheckpointConfig | None
    tensorboard: bool
    stream: bool
    progress: bool
    data_dir: StrPath | None
    manual_dir: StrPath | None


class Session:
    """A run from its data to its folder."""

    def __init__(self, config: TrainConfig, data: Data | None, options: Options) -> None:
        """Arguments: see `jaxdigits.runs.fit.epochs`."""
        self.run: Run | None = None
        self.stop = False
        self._options = options
        if unknown := sorted(set(options) - set(Options.__annotations__)):
            raise TypeError(f"there is no option {', '.join(unknown)}")
        if options.get("tensorboard"):
            check_tensorboard()
        self._final: Path | None = None
        folder = options.get("folder")
        if folder not in (None, "auto"):
            self._final = final_of(Path(folder))
        self._manifest = self._find_manifest()
        if self.run is not None:
            return
        if data is None:
            name = datasets.choose_dataset(
                config.dataset, options.get("data_dir"), options.get("manual_dir")
            )
        else:
            datasets.check_splits(data, ("train", "validation"))
            name = data["train"].fingerprint.name
        config = config.replace(dataset=name)
        self._in_memory = data is not None
        self._stream = options.get("stream", False)
        if jax.process_count() > 1:
            self._stream = config.model != "pixel"
        self._own: dict[str, Any] = {name: options.get(name) for name in PARTS}
        self._start = self._find_start()
        if self._start is not None:
            config = adopt(config, self._start)
            if "model" in self._start.own:
                self._own["model"] = self._start.model
        self._load(config, data)
        self._config = config
        self._check_manifest()
        self._prepare()

    def epochs(self) -> Generator[Epoch]:
        """The epochs that are left; at the end, `run` is the run."""
        if self.run is not None:
            return
        try:
            if not self._options.get("folder") or not multihost.is_primary():
                manifest = {"chunks_per_epoch": self._inputs.chunks_per_epoch}
                with multihost.checked(), CheckpointHook(None, manifest) as hook:
                    yield from self._train(hook, None)
                return
            with (
                multihost.checked(),
                staged_directory(
                    self._final or Path("runs") / self._name,
                    numbered=self._final is None and not self._options.get("overwrite", False),
                    overwrite=self._options.get("overwrite", False),
                    known=KNOWN_FILES,
                    resume=self._options.get("resume", False),
                    resumable=resumable,
                ) as folder,
            ):
                yield from self._train_in(folder)
            drop_checkpoints(folder.final)
        except (jax.errors.JaxRuntimeError, ValueError) as error:
            if "RESOURCE_EXHAUSTED" not in str(error) and "Out of memory" not in str(error):
                raise
            raise ConfigError(
                "the run does not fit into memory; choose a smaller network or --batch-size"
                + ("" if self._stream else ", or leave the images on the disk with --stream")
            ) from None

    def _train_in(self, folder: NewFolder) -> Iterator[Epoch]:
        if self._manifest is None:
            self._manifest = write_manifest(folder.work, self._describe())
        with CheckpointHook(
            folder.work, self._manifest, self._options.get("saving"), self._command(folder.final)
        ) as hook:
            yield from self._train(hook, folder.work)
        assert self.run is not None
        self.run = replace(self.run, folder=folder.final)

    def _train(self, hook: CheckpointHook, folder: Path | None) -> Iterator[Epoch]:
        inputs = self._inputs
        unit = "epoch" if inputs.chunks_per_epoch == 1 else "part"
        total = inputs.num_epochs * inputs.chunks_per_epoch
        tensorboard = self._options.get("tensorboard", False)
        show = self._options.get("progress", False) and multihost.is_primary()
        with ProgressBar(total, unit, show=show) as bar:
            if show:
                bar.say(announcement(self._trainer, self._train_split.fingerprint.name))
            loop = train_loop(inputs, hook, folder=folder, tensorboard=tensorboard, bar=bar)
            progress = next(loop)
            try:
                for progress in loop:
                    yield self._epoch(progress)
                    if self.stop:
                        break
            finally:
                loop.close()
        self.run = self._finish(progress, folder)

    def _epoch(self, progress: Progress) -> Epoch:
        line = progress.history[-1]
        train, validation = (
            Split(line[f"{split}_loss"], line[f"{split}_accuracy"])
            for split in ("train", "validation")
        )
        state = self._inputs.state(progress.state)
        return Epoch(
            line["epoch"],
            train,
            validation,
            line["seconds"],
            state,
            lambda: measure(self._make_run(progress), self._validation).run,
        )

    def _make_run(self, progress: Progress) -> Run:
        run = make_run(
            self._trainer.parts,
            self._trainer.spec,
            jax.device_get(self._inputs.state(progress.state).trained),
            self._train_split,
            self._validation,
            history=tuple(progress.history),
            seconds=progress.seconds,
            devices=num_devices(self._trainer.mesh),
            init_from=self._start and _name_of(self._start),
            stream=self._stream,
        )
        if self._start is None:
            return run
        start = self._start
        return replace(run, form=start.form, light_ground=start.light_ground, extent=start.extent)

    def _finish(self, progress: Progress, folder: Path | None) -> Run:
        """Measure the network, and, in the process that writes, draw and save it."""
        if any(line["validation_loss"] is None for line in progress.history):
            logger.warning(
                "the loss is not a finite number: training diverged; try a smaller --learning-rate"
            )
        run = self._make_run(progress)
        if not multihost.is_primary():
            return run
        more = [] if self._test is None else [self._test]
        run, _, logits = measure(run, self._validation, *more)
        if folder is not None:
            if self._test is not None:
                draw(run, self._test, logits[-1], folder)
            save(run, folder)
        return run

    def _load(self, config: TrainConfig, data: Data | None) -> None:
        folders = {name: self._options.get(name) for name in ("data_dir", "manual_dir")}
        self._train_split: Dataset | StoredSplit
        if data is not None:
            if self._stream:
                raise ConfigError("data in memory is not streamed: omit stream, or omit data")
            self._train_split, self._validation = data["train"], data["validation"]
            self._test: Dataset | None = data.get("test")
        elif self._stream:
            self._train_split = datasets.open_split(config.dataset, "train", **folders)
            rest = datasets.load_splits(config.dataset, ("validation", "test"), **folders)
            self._validation, self._test = rest
        else:
            self._train_split, self._validation, self._test = datasets.load_splits(
                config.dataset, ("train", "validation", "test"), **folders
            )

    def _prepare(self) -> None:
        """Make the trainer and its input pipeline."""
        config, train, options = self._config, self._train_split, self._options
        own = self._own
        shape, classes = self._validation.images.shape[1:], len(train.class_names)
        if self._start is not None:
            check_start(self._start, train.class_names, tuple(shape))
            scaling = self._start.scaling
        elif isinstance(train, StoredSplit):
            statistics = stored_statistics(train) if config.scale == "standardized" else UNIT
            scaling = Scaling(*map(jnp.float32, statistics))
        else:
            scaling = fit_scaling(config.scale, train.images)
        spec = DataSpec(len(train), tuple(shape), classes, scaling)
        model = own["model"] or make_model(config, classes, spec.image_shape)
        mesh = options.get("mesh")
        if mesh is None:
            devices = options.get("devices")
            if self._manifest is not None:
                devices = resumed_devices(self._manifest, devices)
            mesh = default_mesh(model.hints, config.batch_size, devices)
        self._trainer = make_trainer(config, spec, mesh=mesh, **own)
        key = jax.random.key(config.seed)
        params = None if self._start is None else self._start.params
        self._inputs: InputPipeline
        if isinstance(train, StoredSplit):
            self._inputs = Streamed(self._trainer, train, self._validation.examples, key, params)
        else:
            training_data = TrainingData.from_datasets(train, self._validation)
            self._inputs = InMemory(self._trainer, training_data, key, params)
        network = "own" if own["model"] else config.model
        self._name = f"{train.fingerprint.name.replace('/', '-')}-{network}"

    def _describe(self) -> dict[str, Any]:
        return describe(
            self._config,
            self._train_split.fingerprint,
            num_devices(self._trainer.mesh),
            own=list(self._trainer.parts.own),
            init_from=self._start and _name_of(self._start),
            stream=self._stream,
            chunks_per_epoch=self._inputs.chunks_per_epoch,
        )

    def _find_manifest(self) -> dict[str, Any] | None:
        """The manifest of the run to resume; sets `run` where that is complete."""
        options = self._options
        if not options.get("resume"):
            return None
        if self._final is None:
            raise ConfigError("to resume a run, give its folder")
        if unfinished(self._final).exists():
            return find_manifest("train", self._final, RUN_FILE)[1]
        if (self._final / RUN_FILE).exists():
            self.run = load(self._final, model=options.get("model"), loss=options.get("loss"))
        return None

    def _find_start(self) -> Run | None:
        """The run to start from."""
        start = self._options.get("init_from")
        before = (self._manifest or {}).get("init_from")
        if start is None and before == IN_MEMORY:
            raise ConfigError("the run was begun from a run in memory: give init_from again")
        if start is None:
            start = before
        if start is not None and not isinstance(start, Run):
            start = load(start, model=self._options.get("model"))
        found = start and _name_of(start)
        if self._manifest is not None and found != before:
            raise ConfigError(
                f"the run was begun from {before or 'initial values'}, not from "
                f"{found or 'initial values'}: omit that setting, or start a new run"
            )
        return start

    def _check_manifest(self) -> None:
        if self._manifest is None:
            return
        assert self._final is not None
        if self._stream != self._manifest["stream"]:
            word = "with" if self._manifest["stream"] else "without"
            raise ConfigError(f"the run was begun {word} --stream, and can only be resumed so")
        check_data(self._manifest, self._train_split.fingerprint)
        names = list(self._config.as_dict())
        manifest_config(self._manifest, unfinished(self._final), self._config, names)
        own = [name for name, part in self._own.items() if part is not None]
        if own != self._manifest["own"]:
            raise ConfigError(
                f"the run was begun with {', '.join(self._manifest['own']) or 'no part'} of your "
                f"own, not {', '.join(own) or 'none'}: give the same parts to resume it"
            )

    def _command(self, final: Path) -> str:
        options, own = self._options, any(part is not None for part in self._own.values())
        if own or self._in_memory or (self._start and self._start.folder is None):
            return f"jaxdigits.fit(..., folder={str(final)!r}, resume=True)"
        flags = {"--overwrite": "overwrite", "--tensorboard": "tensorboard"}
        folders = {
            f"--{name.replace('_', '-')}": options.get(name) for name in ("data_dir", "manual_dir")
        }
        given = [flag for flag, name in flags.items() if options.get(name)]
        return resume_command("train", final, folders, *given)


def _name_of(start: Run) -> str:
    return IN_MEMORY if start.folder is None else str(start.folder)
