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

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from jaxdigits.training.state import TrainingData
from jaxdigits.training.trainer import Trainer, compute_logits, make_trainer

PRODUCT = "product"
PRODUCT_SIDES = {"cpu": 1024}
"""Rows and columns of the matrices, by platform; 8192 elsewhere."""

SHARDED = PartitionSpec(DEVICES)


class Program(NamedTuple):
    """A compiled, warm program.

    Attributes:
        call: runs it once and waits for it.
        images: per call; 0 in the matrix product.
        flops: per call; 0 where nobody counts them.
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


def prepare_all(
    benchmarks: Sequence[Benchmark],
    dataset: Dataset,
    progress: Callable[[str], Any] = lambda _: None,
) -> dict[str, Program]:
    """Compile benchmarks and the matrix product, `product`.

    Args:
        benchmarks: what to measure.
        dataset: whose images to use, over and over.
        progress: called with what happens.

    Raises:
        ConfigError: there are not that many devices.
    """
    with uncached():
        programs = {}
        for benchmark in benchmarks:
            progress(f"compiling {benchmark.name}")
            programs[benchmark.name] = prepare(benchmark, dataset)
        return {**programs, PRODUCT: prepare_product()}


@contextmanager
def uncached() -> Iterator[None]:
    """Compile anew: a program from the cache would seem to have taken no time."""
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
    """Time compiled programs, interleaved.

    Args:
        programs: by name.
        rounds: of each.
        round_seconds: of each round, about; a call may take longer.
        before_round: called before each round of each.
        progress: called with what happens.
    """
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
    """Compile a benchmark. Arguments and errors: see `prepare_all`."""
    config, num_classes = benchmark.config, benchmark.num_classes
    hints = make_model(config, num_classes).hints
    mesh = default_mesh(hints, config.batch_size, benchmark.devices)
    count = benchmark.images(jax.default_backend())
    images = np.resize(dataset.images, (count, *dataset.images.shape[1:]))
    examples = Examples(images, np.resize(dataset.labels, count))
    trainer = make_trainer(config, TrainingData(examples, examples, num_classes), mesh=mesh)
    state = replicate(trainer.jit(trainer.init)(jax.random.key(0)), mesh)
    work = count, count * benchmark.flops_per_image
    if benchmark.mode == "inference":
        images = _shard(images, mesh)
        return compile_program(inference(trainer), (state.params, images), *work, mesh)
    examples = replicate(examples, mesh)

    def train(compiled: Any) -> Any:
        nonlocal state
        state, metrics = compiled(state, examples)
        return metrics

    epoch = trainer.jit(trainer.train_epoch, donate_argnums=0)
    return compile_program(epoch, (state, examples), *work, mesh, train)


def inference(trainer: Trainer) -> Any:
    """`(params, images) -> labels`, each device with its share of the images."""
    mesh, parts = trainer.mesh, trainer.parts
    batch_size = parts.config.batch_size // (mesh.size if mesh else 1)

    def infer(params: Any, images: Any) -> Any:
        logits = compute_logits(parts.model.apply, params, parts.scaling, images, batch_size)
        return logits.argmax(axis=-1)

    if mesh:
        in_specs = (PartitionSpec(), SHARDED)
        infer = jax.shard_map(
            infer, mesh=mesh, in_specs=in_specs, out_specs=SHARDED, check_vma=False
        )
    return trainer.jit(infer)


def prepare_product() -> Program:
    """Compile the matrix product, one per device."""
    side = PRODUCT_SIDES.get(jax.default_backend(), 8192)
    mesh = make_mesh(jax.devices(), None, DEVICES)
    shape = (mesh.size, side, side)
    matrices = _shard(np.random.default_rng(0).normal(size=shape).astype(np.float32), mesh)
    product = jax.shard_map(jnp.matmul, mesh=mesh, in_specs=(SHARDED, SHARDED), out_specs=SHARDED)
    function = jax.jit(product, compiler_options=compiler_options(mesh))
    return compile_program(function, (matrices, matrices), 0, mesh.size * 2 * side**3, mesh)


def _shard(array: np.ndarray, mesh: Mesh | None) -> Any:
    return jax.device_put(array, NamedSharding(mesh, SHARDED) if mesh else None)


def compile_program(
    function: Any,
    arguments: tuple[Any, ...],
    images: int = 0,
    flops: int | None = None,
    mesh: Mesh | None = None,
    use: Callable[[Any], Any] | None = None,
) -> Program:
    """Compile a jitted function and call it once.

    Args:
        function: what to compile.
        arguments: of it.
        images: that a call takes.
        flops: of a call. Default: as XLA counts them.
        mesh: of the devices that share the work.
        use: calls the compiled program other than with the arguments.
    """
    start = time.perf_counter()
    lowered = function.lower(*arguments)
    traced = time.perf_counter()
    compiled = lowered.compile()
    done = time.perf_counter()

    def call() -> None:
        jax.block_until_ready(use(compiled) if use else compiled(*arguments))

    call()
    return Program(
        call=call,
        images=images,
        flops=_count_flops(compiled) if flops is None else flops,
        trace_seconds=traced - start,
        compile_seconds=done - traced,
        first_seconds=time.perf_counter() - done,
        program_bytes=program_bytes(compiled),
        devices=mesh.size if mesh else 1,
    )


def _count_flops(compiled: Any) -> int:
    """The operations of a compiled program as XLA counts them; 0 where it does not tell."""
    cost = compiled.cost_analysis()
    if isinstance(cost, list):
        cost = cost[0] if cost else None
    return max(int((cost or {}).get("flops", 0)), 0)
