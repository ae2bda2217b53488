"""Measurements and comparisons in words."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tabulate import tabulate

from jaxdigits.bench.ahead import Ahead
from jaxdigits.bench.commands import Turns
from jaxdigits.bench.compare import LEVEL, MARGIN, Comparison
from jaxdigits.bench.own import Measured


def measurement(document: Mapping[str, Any]) -> str:
    """A table of the benchmarks, and what they were measured on.

    Args:
        document: as `jaxdigits.bench.document` makes it.
    """
    entries = document["benchmarks"]
    lines = f"{_table(entries, _speed)}\n\n{_table(entries, _cost)}"
    ours, cpu = document["jaxdigits"], document["machine_info"]["cpu"]
    peak, commit = ours["peak_bytes"], document["commit_info"]["id"]
    memory = f"{peak['process'] / 1e6:,.0f} MB of the process"
    if peak["device"]:
        memory += f", {peak['device'] / 1e6:,.0f} MB of the device"
    machine = [
        f"{ours['device']} x {ours['devices']}",
        f"{cpu['brand_raw']}, {cpu['count']} cores",
        ", ".join(f"{name} {version}" for name, version in ours["versions"].items()),
        f"commit {commit[:10]}" if commit else "no commit",
        *(f"{name}={value}" for name, value in ours["flags"].items()),
    ]
    return f"{lines}\n\nPeak memory: {memory}.\n" + textwrap.fill(f"{'; '.join(machine)}.", 79)


def function(target: str, found: Measured) -> str:
    """A measurement in words."""
    middle, low, high = (1000 * seconds for seconds in found.seconds)
    work = ""
    if found.flops:
        work = (
            f"\n{found.flops_per_second / 1e9:,.1f} GFLOP/s, {found.share_of_product:.0%} of the "
            "matrix product's, by XLA's count"
        )
    compiling = found.trace_seconds + found.compile_seconds
    return (
        f"{target}: {middle:.4g} ms a call (95% interval {low:.4g} to {high:.4g}){work}\n"
        f"compiled in {compiling:.2f} s, first call {found.first_seconds:.3f} s, "
        f"{found.program_bytes / 1e6:,.1f} MB"
    )


def ahead(found: Ahead) -> str:
    """What a program compiled for other devices tells."""
    seeds = f"{found.seeds} seeds, " if found.seeds > 1 else ""
    sums = ", ".join(f"{count} {name}" for name, count in found.collectives.items())
    lines = [
        f"{found.model}, {found.mode}, {seeds}batches of {found.batch_size}: {found.devices} x "
        f"{found.device}",
        f"compiled in {found.compile_seconds:.1f} s; {found.program_bytes / 1e6:,.0f} MB a device",
        f"a step: {found.kernels} kernels, {sums or 'no exchange between devices'}",
        f"        {found.flops / 1e9:,.2f} GFLOP of products, {found.bytes / 1e6:,.1f} MB read and "
        "written a device",
    ]
    if found.cycles:
        lines.append(f"        {found.cycles / 1e3:,.0f} thousand cycles by XLA's estimate")
    if found.product_seconds is None or found.memory_seconds is None:
        return "\n".join([*lines, "no bound: the datasheet of this device is not known"])
    bound_by = "memory" if found.memory_seconds > found.product_seconds else "products"
    products, memory = 1e6 * found.product_seconds, 1e6 * found.memory_seconds
    return "\n".join(
        [
            *lines,
            f"        products take {products:,.1f} us at least, memory {memory:,.1f} us",
            f"bound by {bound_by}: at most {found.bound:,.0f} images/s",
        ]
    )


Cells = Callable[[Mapping[str, Any]], dict[str, str]]


def _table(entries: Sequence[Mapping[str, Any]], cells: Cells) -> str:
    """A line for each benchmark, without columns in which there is nothing."""
    rows = [cells(entry) for entry in entries]
    keep = [name for name in rows[0] if any(row[name] for row in rows)]
    return tabulate(
        [[entry["name"], *map(row.get, keep)] for entry, row in zip(entries, rows, strict=True)],
        ["", *keep],
        "simple",
        disable_numparse=True,
        colalign=["left"] + ["right"] * len(keep),
    )


def _speed(entry: Mapping[str, Any]) -> dict[str, str]:
    extra = entry["extra_info"]
    rate = interval = ""
    if extra["images"]:
        low, high = extra["interval_95"]
        rate, interval = f"{extra['images_per_second']:,.0f}", f"{low:,.0f} to {high:,.0f}"
    datasheet = extra["share_of_datasheet"]
    return {
        "images/s": rate,
        "95% interval": interval,
        "of product": f"{extra['share_of_product']:.0%}",
        "of datasheet": "" if datasheet is None else f"{datasheet:.1%}",
    }


def _cost(entry: Mapping[str, Any]) -> dict[str, str]:
    extra = entry["extra_info"]
    return {
        "GFLOP/s": f"{extra['flops_per_second'] / 1e9:,.1f}",
        "call": f"{entry['stats']['median']:.3g} s",
        "first call": f"{extra['first_seconds']:.2f} s",
        "compile": f"{extra['trace_seconds'] + extra['compile_seconds']:.1f} s",
        "memory": f"{extra['program_bytes'] / 1e6:,.0f} MB",
    }


def comparison(compared: Comparison) -> str:
    """A table of the changes, and how to read it."""
    lines = tabulate(
        [(c.name, *(f"{end:.3f}" for end in c.ratio), c.verdict) for c in compared.changes],
        ("", "time, after to before", "from", "to", ""),
        "simple",
        disable_numparse=True,
        colalign=("left", "right", "right", "right", "left"),
    )
    hardest = max(compared.changes, key=lambda change: change.visible)
    seen = hardest.visible - 1
    least = f"only one of more than {seen:.0%}" if seen < 10 else "none"
    how = "Measured one after the other: the fastest rounds count."
    better = "`jaxdigits bench pair`, more --rounds, and a quieter machine"
    if compared.interleaved:
        how = "Measured interleaved: the median of the rounds' ratios counts."
        better = "More --rounds"
    return (
        f"{lines}\n\nThe matrix product takes {compared.machine.value:.3f}x as long as before. "
        f"Above 1 is slower; all intervals hold at once with {LEVEL:.0%} confidence. The same "
        f"program, started again, may differ by {MARGIN - 1:.0%}. {how}\n"
        f"A slowdown is hardest to see in {hardest.name}: {least} would surely have been found. "
        f"{better} show smaller ones."
    )


def turns(found: Turns) -> str:
    """Two commands, and how many times as fast the second is."""
    lines = []
    for name, side in (("before", found.before), ("after", found.after)):
        value, low, high = side.typical
        form = "a rate of {:,.4g}" if found.rate else "{:.4g} s"
        lines.append(
            f"{name}: {form.format(value)} (95% interval {low:,.4g} to {high:,.4g}), "
            f"{len(side.values)} runs of `{side.command}`"
        )
    value, low, high = found.speedup
    lines.append(f"after is {value:.4g} times as fast (95% interval {low:.4g} to {high:.4g})")
    return "\n".join(lines)


def time_to(document: Mapping[str, Any]) -> str:
    """How many runs reach the accuracy, and the means."""
    low, high = document["share_interval_95"]
    return (
        f"{document['reached']} of {document['seeds']} reach {document['accuracy']:.2%} "
        f"(95% interval {low:.0%} to {high:.0%}); accuracy "
        f"{_mean(document, 'mean_accuracy', '.2%')}; whole process, in seconds, "
        f"{_mean(document, 'mean_seconds', '.2f')}"
    )


def _mean(document: Mapping[str, Any], name: str, form: str) -> str:
    ends: Sequence[float] = document[f"{name}_interval_95"]
    low, high = (format(end, form) for end in ends)
    return f"{document[name]:{form}} ({low} to {high})"
