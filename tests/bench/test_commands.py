"""Any two commands in turns."""

import json
import sys

import numpy as np
import pytest

from jaxdigits.bench import report
from jaxdigits.bench.commands import Side, Turns, measure_in_turns
from jaxdigits.errors import ConfigError, RunError

SLEEP = f"{sys.executable} -c 'import time; time.sleep({{}})'"


def test_whole_processes_are_timed_in_turns(tmp_path) -> None:
    """Which goes first changes; the first run of each does not count; the slower takes longer."""
    log = tmp_path / "log"
    write = f'{sys.executable} -S -c \'open("{log}", "a").write("{{}}")\''
    turns = measure_in_turns(write.format("a"), write.format("b"), rounds=4)
    assert log.read_text() in ("abbaabbaab", "baabbaabba")
    assert [len(side.values) for side in (turns.before, turns.after)] == [4, 4]
    slow = measure_in_turns(SLEEP.format(0.5), SLEEP.format(0), rounds=2)
    assert min(slow.before.values) > 0.5
    assert slow.speedup.value > 1


def test_a_rate_is_what_a_command_prints() -> None:
    """The last one, with commas or an exponent; more is faster."""
    turns = measure_in_turns(
        "printf 'rate 5\\nrate 1,200.5 a second'", "echo rate 2.401e3", rounds=2, rate=r"rate (\S+)"
    )
    assert turns.before.values == [1200.5] * 2
    assert turns.after.values == [2401.0] * 2
    assert turns.speedup.value == pytest.approx(2)
    assert "after is 2 times as fast" in report.turns(turns)
    whole = measure_in_turns("echo 20", "echo 5", rounds=2, rate=r"\d+")
    assert whole.speedup.value == pytest.approx(0.25)


def test_the_speedup_is_that_of_pairs() -> None:
    """A drift that both meet does not count."""
    drift = np.exp(np.linspace(0, 2, 12))
    seconds = Turns(Side("a", (2 * drift).tolist()), Side("b", drift.tolist()), rate=False)
    assert seconds.speedup == pytest.approx((2, 2, 2))
    rates = Turns(Side("a", (2 * drift).tolist()), Side("b", drift.tolist()), rate=True)
    assert rates.speedup == pytest.approx((0.5, 0.5, 0.5))
    assert seconds.before.typical.low > 0


@pytest.mark.parametrize(
    ("commands", "options", "error", "message"),
    [
        (("no/such", "true"), {}, ConfigError, "cannot run `no/such`: No such file or directory"),
        (("'x", "true"), {}, ConfigError, "cannot run `'x`: No closing quotation"),
        ((" ", "true"), {}, ConfigError, "cannot run ` `: it is empty"),
        (("true", "true"), {"rounds": 1}, ConfigError, "rounds must be 2 to 10000, not 1"),
        (("true", "true"), {"rate": "("}, ConfigError, "is no regular expression"),
        (("false", "true"), {}, RunError, "`false` ended with exit code 1, and said nothing"),
        (("echo x", "echo 3"), {"rate": "."}, RunError, "prints no rate like '.'; it said 'x'"),
        (("echo 0", "echo 3"), {"rate": "."}, RunError, "prints no rate like '.'; it said '0'"),
    ],
)
def test_what_cannot_be_measured(commands, options, error, message) -> None:
    """One sentence says why."""
    with pytest.raises(error) as raised:
        measure_in_turns(*commands, **{"rounds": 2} | options)
    assert message in str(raised.value)


def test_by_the_command_line(cli) -> None:
    """`bench pair` with --whole or --rate."""
    code, out, err = cli("bench", "pair", "--whole", "--rounds", "2", "true", "true")
    assert (code, err) == (0, "")
    assert "2 runs of `true`" in out
    code, out, _ = cli(
        "bench", "pair", "--rate", ".", "--rounds", "2", "--json", "echo 2", "echo 3"
    )
    assert code == 0
    document = json.loads(out)
    assert document["speedup"]["value"] == pytest.approx(1.5)
    assert [side["values"] for side in document["commands"]] == [[2, 2], [3, 3]]
    code, _, err = cli("bench", "pair", "--whole", "--quick", "true", "true")
    assert code == 2
    assert "only --rounds goes with any two commands" in err
    code, _, err = cli("bench", "pair", "--whole", "--before-json", "x", "true", "true")
    assert code == 2
    assert "use --json" in err
