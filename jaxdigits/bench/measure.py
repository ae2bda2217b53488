"""Time programs, interleaved.

- The data are on the device. A call is one XLA program: an epoch of training steps, or inference
  on as many images, batch by batch. `block_until_ready` waits for it.
- Compilation is timed apart, without the persistent cache, and so is the first call, which still
  warms up. Neither is in the rate.
- The programs are interleaved: a round of each, then another of each. A machine that drifts drifts
  for all. A round is as many calls as take `round_seconds`, and counts as their mean.
- One of the programs is a matrix product, as large as the machine likes it. Its fastest round is
  the speed to which the networks' use of the machine is compared, beside the datasheet's.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxdigits.bench.workloads import Benchmark
from jaxdigits.data import Dataset, Examples
from jaxdigits.environment import compiler_options
from jaxdigits.models import make_model
from jaxdigits.sweeps.grid import program_bytes
from jaxdigits.training.sharding import DEVICES, default_mesh, make_mesh, replicate
from jaxdigits.training.state import TrainingData, TrainState
from jaxdigits.training.trainer import Trainer, compute_logits, make_trainer

PRODUCT = "product"
PRODUCT_SIDES = {"cpu": 1024}
"""Rows and columns of the matrices, by platform; 8192 elsewhere."""


class Program(NamedTuple):
    """A compiled, warm program.

    Attributes:
        call: runs it once and waits for it.
        images: per call; 0 in the matrix product.
        flops: per call.
        trace_seconds: from Python to XLA's input.
        compile_seconds: from there to a program.
        first_seconds: of the first call.
        program_bytes: memory that it needs on a device by XLA's account: arguments, results, and
            temporaries.
        devices: the number that share the work.
    """

    call: Callable[[], Any]
    images: int
    flops: int
    trace_seconds: float
    compile_seconds: float
    first_seconds: float
    program_bytes: int
    devices: int


class Timing(NamedTuple):
    """The rounds of a program.

    Attributes:
        program: what was timed.
        calls: per round.
        seconds: per call, the mean over each round.
    """

    program: Program
    calls: int
    seconds: list[float]


def measure(
    benchmarks: Sequence[Benchmark],
    dataset: Dataset,
    *,
    rounds: int,
    round_seconds: float,
    before_round: Callable[[], Any] = lambda: None,
    progress: Callable[[str], Any] = lambda _: None,
) -> dict[str, Timing]:
    """Compile benchmarks and the matrix product, then time them interleaved.

    Args:
        benchmarks: what to measure.
        dataset: whose images to use, over and over.
        rounds: of each.
        round_seconds: of each round, about; a call may take longer.
        before_round: called before each round of each.
        progress: called with what happens.

    Returns:
        Timings by name; the matrix product's is `product`.

    Raises:
        ConfigError: there are not that many devices.
    """
    programs = {}
    with _no_compilation_cache():
        for benchmark in benchmarks:
            progress(f"compiling {benchmark.name}")
            programs[benchmark.name] = prepare(benchmark, dataset)
        programs[PRODUCT] = prepare_product()
    return interleaved(
        programs,
        rounds=rounds,
        round_seconds=round_seconds,
        before_round=before_round,
        progress=progress,
    )


@contextlib.contextmanager
def _no_compilation_cache() -> Iterator[None]:
    """A program that is found in the cache would seem to have taken no time to compile."""
    before = jax.config.jax_enable_compilation_cache  # pyright: ignore[reportAttributeAccessIssue]
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)


def interleaved(
    programs: Mapping[str, Program],
    *,
    rounds: int,
    round_seconds: float,
    before_round: Callable[[], Any] = lambda: None,
    progress: Callable[[str], Any] = lambda _: None,
) -> dict[str, Timing]:
    """Time compiled programs. Arguments and result: see `measure`."""
    calls = {}
    for name, program in programs.items():
        once = min(_round(program, 1) for _ in range(2))
        calls[name] = max(round(round_seconds / once), 1)
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for number in range(rounds):
        progress(f"round {number + 1} of {rounds}")
        for name, program in programs.items():
            before_round()
            seconds[name].append(_round(program, calls[name]))
    return {name: Timing(program, calls[name], seconds[name]) for name, program in programs.items()}


def _round(program: Program, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        program.call()
    return (time.perf_counter() - start) / calls


def prepare(benchmark: Benchmark, dataset: Dataset) -> Program:
    """Compile a benchmark. Arguments and errors: see `measure`."""
    config, num_classes = benchmark.config, benchmark.num_classes
    hints = make_model(config, num_classes).hints
    mesh = default_mesh(hints, config.batch_size, benchmark.devices)
    count = benchmark.images(jax.default_backend())
    images = np.resize(dataset.images, (count, *dataset.images.shape[1:]))
    examples = Examples(images, np.resize(dataset.labels, count))
    trainer = make_trainer(config, TrainingData(examples, examples, num_classes), mesh=mesh)
    state = replicate(trainer.jit(trainer.init)(jax.random.key(0)), mesh)
    flops = count * benchmark.flops_per_image
    prepare_mode = _prepare_training if benchmark.mode == "train" else _prepare_inference
    return prepare_mode(trainer, state, examples, flops)


def _prepare_training(
    trainer: Trainer, state: TrainState, examples: Examples, flops: int
) -> Program:
    examples = replicate(examples, trainer.mesh)
    epoch = trainer.jit(trainer.train_epoch, donate_argnums=0)

    def train(compiled: Any) -> Any:
        nonlocal state
        state, metrics = compiled(state, examples)
        return metrics

    return _compile(epoch, (state, examples), train, len(examples.labels), flops, trainer.mesh)


def _prepare_inference(
    trainer: Trainer, state: TrainState, examples: Examples, flops: int
) -> Program:
    mesh, parts = trainer.mesh, trainer.parts
    batch_size = parts.config.batch_size // (mesh.size if mesh else 1)

    def infer(params: Any, images: Any) -> Any:
        logits = compute_logits(parts.model.apply, params, parts.scaling, images, batch_size)
        return logits.argmax(axis=-1)

    images, sharded = examples.images, PartitionSpec(DEVICES)
    if mesh:
        in_specs = (PartitionSpec(), sharded)
        infer = jax.shard_map(
            infer, mesh=mesh, in_specs=in_specs, out_specs=sharded, check_vma=False
        )
    images = jax.device_put(images, NamedSharding(mesh, sharded) if mesh else None)
    arguments = (state.params, images)
    return _compile(
        trainer.jit(infer),
        arguments,
        lambda compiled: compiled(*arguments),
        len(images),
        flops,
        mesh,
    )


def prepare_product() -> Program:
    """Compile the matrix product, one per device."""
    side = PRODUCT_SIDES.get(jax.default_backend(), 8192)
    mesh = make_mesh(jax.devices(), None, DEVICES)
    sharded = PartitionSpec(DEVICES)
    matrices = jax.device_put(
        np.random.default_rng(0).normal(size=(mesh.size, side, side)).astype(np.float32),
        NamedSharding(mesh, sharded),
    )
    square = jax.shard_map(jnp.matmul, mesh=mesh, in_specs=(sharded, sharded), out_specs=sharded)
    function = jax.jit(square, compiler_options=compiler_options(mesh))
    arguments = (matrices, matrices)
    flops = mesh.size * 2 * side**3
    return _compile(function, arguments, lambda compiled: compiled(*arguments), 0, flops, mesh)


def _compile(
    function: Any,
    arguments: tuple[Any, ...],
    use: Callable[[Any], Any],
    images: int,
    flops: int,
    mesh: Mesh | None,
) -> Program:
    """Compile a jitted function and call it once; `use` calls the compiled function."""
    start = time.perf_counter()
    lowered = function.lower(*arguments)
    traced = time.perf_counter()
    compiled = lowered.compile()
    done = time.perf_counter()

    def call() -> None:
        jax.block_until_ready(use(compiled))

    call()
    return Program(
        call=call,
        images=images,
        flops=flops,
        trace_seconds=traced - start,
        compile_seconds=done - traced,
        first_seconds=time.perf_counter() - done,
        program_bytes=program_bytes(compiled),
        devices=mesh.size if mesh else 1,
    )
