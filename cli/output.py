"""What the commands share beside their work: printing, progress, and a folder tried before work."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

MISTAKE = 2
# A pipe has no width: nothing is cut there.
PIPE_WIDTH = 200
# A mistake is read by people; a number of thousands of digits is not.
LONGEST_WORD, LONGEST_LINE = 300, 2000
# Before the first line of progress in a pipe, and, twice as long each time, between them.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0


def command() -> str:
    """The command line, for the records."""
    from ..files.mask import masked_command

    return masked_command(["anybudget", *sys.argv[1:]])


def mistake(message: str) -> int:
    """One line on stderr, without passwords and what would steer a terminal; the exit code.

    What no one reads is cut from it.
    """
    from ..files.mask import masked

    words = masked(message, sys.argv).split()
    line = _cut(" ".join(_cut(word, LONGEST_WORD) for word in words), LONGEST_LINE)
    plain = (c if c.isprintable() else ascii(c)[1:-1] for c in line)
    tell(f"anybudget: {''.join(plain)}")
    return MISTAKE


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 2 :]}"


def tell(line: str) -> None:
    """A line beside the result and not in it; where nobody can hear it, the work goes on."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def beware(warning: str) -> None:
    """A warning beside the result, in lines as long as a terminal's are at least."""
    from ..show.terminal.parts import wrapped

    tell(wrapped(warning, "! "))


def show(lines: Iterable[Any]) -> None:
    """Lines and tables on stdout, as wide as the terminal."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    console = Console(highlight=False, width=None if terminal else PIPE_WIDTH)
    for line in lines:
        console.print(line, soft_wrap=not terminal)


def show_json(document: Any) -> None:
    """One JSON document on stdout."""
    from ..files.write import json_text

    print(json_text(document))


def show_written(folder: Path, names: Iterable[str]) -> None:
    """A last line that names what lies in a folder now."""
    from rich.markup import escape

    show([f"\nWritten to {escape(str(folder))}: {', '.join(names)}"])


def _in_lines() -> Callable[[str, int, int], None]:
    reached: dict[str, int] = {}
    last, pause_s = time.monotonic(), FIRST_PAUSE_S

    def report(stage: str, done: int, total: int) -> None:
        nonlocal last, pause_s
        reached[stage] = reached.get(stage, 0) + done
        now = time.monotonic()
        if total == 1 and not done:
            tell(f"... {stage}")  # of one piece, it says nothing more until it is over
        elif now >= last + pause_s:
            tell(f"... {stage}: {reached[stage]:,} of {total:,}")
            last, pause_s = now, min(2 * pause_s, LONGEST_PAUSE_S)

    return report


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for each stage on a terminal's stderr, and lines in a pipe, ever fewer."""
    if not sys.stderr.isatty():
        yield _in_lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.advance(tasks[stage], done)

        yield report
