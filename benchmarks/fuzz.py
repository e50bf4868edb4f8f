"""Hostile inputs, drawn at random, where a user's values and files come in.

    python benchmarks/fuzz.py raw_values outputs --trials 1000 --seed 1

Each input is taken as it is meant, or refused by an error that speaks to the user. The table counts
all else: `wrong` is a result that differs from an independent one, or that should have been
refused; `traceback` any other exception than UserError; `hang` a trial of more than `--seconds`.
The first inputs of each class are printed, and `--first 17 --trials 1` repeats trial 17.

A target is a function of an empty folder. It prepares what its trials share, and returns a function
of a random generator, which draws an input: its description, and an attempt. The attempt fails an
`assert` for a wrong result, and returns the class to count it under, such as 'taken'.
"""

import argparse
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "scripts"), str(REPOSITORY / "tests")]

from fuzz_commands import outputs
from fuzz_files import environment, files
from fuzz_names import columns, paths, times
from fuzz_values import raw_values

from feseq.common.errors import UserError

TARGETS = {
    prepare.__name__: prepare
    for prepare in (*(raw_values, outputs, columns, paths, times, files, environment),)
}
BAD = ("wrong", "traceback", "hang")


class Hang(BaseException):
    """A trial took too long; no `except Exception` of the code under test takes it."""


def outcome(attempt: Callable[[], str], seconds: float) -> tuple[str, str]:
    """The class of a trial, and the message of an error."""

    def give_up(*_: Any) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return attempt(), ""
    except UserError as error:
        return "refused", str(error)
    except AssertionError as error:
        return "wrong", str(error)
    except Hang:
        return "hang", f"more than {seconds} s"
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="target", help=", ".join(TARGETS))
    for name, default in {"trials": 300, "seed": 1, "first": 0, "shown": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    lines, bad = [], 0
    for name in options.targets or TARGETS:
        counts: Counter[str] = Counter()
        started = time.monotonic()
        with TemporaryDirectory() as folder:
            draw = TARGETS[name](Path(folder))
            for number in range(options.first, options.first + options.trials):
                described, attempt = draw(Random(f"{options.seed} {name} {number}"))
                found, message = outcome(attempt, options.seconds)
                counts[found] += 1
                if found in BAD and counts[found] <= options.shown:
                    print(f"{name} {number}: {described}\n    {found}: {message:.300}", flush=True)
        others = ", ".join(f"{n} {kind}" for kind, n in counts.items() if kind not in BAD)
        cells = [name, options.trials, *(counts[kind] for kind in BAD), others]
        lines.append(f"| {' | '.join(map(str, cells))} | {time.monotonic() - started:.0f} |")
        bad += sum(counts[kind] for kind in BAD)
    print(f"\n| target | trials | {' | '.join(BAD)} | others | s |\n|{'---|' * (len(BAD) + 4)}")
    print("\n".join(lines))
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
