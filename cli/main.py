"""The commands in groups, and how each of them ends."""

import contextlib
import io
import os
import signal
import sys
import threading

import cyclopts

from .output import mistake, tell

FAULT, INTERRUPTED, TERMINATED = 1, 130, 143
HELP = """The best decoder-only transformer for a time budget on a given machine.

Example: `anybudget find 3h`. `anybudget COMMAND --help` has one of each command.
"""
# Each is imported when it is run, from the module that is named.
COMMANDS = {
    "Ask": {"find": "ask", "predict": "one", "front": "ask", "batch": "ask"},
    "Learn": {"calibrate": "learn", "fit": "learn", "devices": "learn", "laws": "learn"},
    "Train": {"confirm": "train", "refine": "train", "forecast": "train", "compile": "one"},
    "Show": {"report": "show", "explore": "show", "export": "show"},
    "Serve": {"proxy": "serve", "completion": "serve"},
}


class Terminated(KeyboardInterrupt):
    """SIGTERM: it ends in order, as after an interrupt."""


def build(*, described: bool = False) -> cyclopts.App:
    """The parser; its commands are imported only where all of them are to be described."""
    app = cyclopts.App(
        name="anybudget",
        help=HELP,
        default_parameter=cyclopts.Parameter(negative_iterable=(), allow_repeating=True),
        suppress_keyboard_interrupt=False,
        version=_version,
    )
    for at, (title, commands) in enumerate(COMMANDS.items()):
        group = cyclopts.Group(title, sort_key=at)
        for place, (name, module) in enumerate(commands.items()):
            path = f"{__package__}.{module}:{name}"
            app.command(path, name=name, group=group, sort_key=place)
            if described:
                app[name]
    return app


def _version() -> str:
    from .. import __version__

    return __version__


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    _open_closed()
    # Our matrices are small: with more threads OpenBLAS takes several times as long, in loops.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without × still shows the rest
    heed_sigterm()
    leave(_run(sys.argv[1:]))


def leave(code: int) -> None:
    """End with a code; at once after an interrupt, for JAX's threads may still compute."""
    if code in (INTERRUPTED, TERMINATED):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def heed_sigterm() -> None:
    """Let SIGTERM end us in order."""

    def terminate(number: int, frame: object) -> None:
        raise Terminated

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)


def _empty(words: list[str]) -> str | None:
    """The option that an empty word was given to, as of a variable that is not set; None: none."""
    before = ""
    for word in words:
        if not word.strip():
            return f"`{before}`" if before.startswith("--") else "an argument"
        if word.startswith("--") and word.endswith("=") and word.count("=") == 1:
            return f"`{word[:-1]}`"
        before = word
    return None


def _open_closed() -> None:
    """Streams that were closed before we began lead nowhere, lest a file gets their place."""
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+", encoding="utf-8"))  # noqa: SIM115


def _run(words: list[str]) -> int:
    if (empty := _empty(words)) is not None:
        return mistake(f"{empty} must not be empty; is a variable unset?")
    try:
        app = build(described=words[:1] in ([], ["--help"], ["-h"]))
        app(words, exit_on_error=False, print_error=False, result_action="return_none")
        sys.stdout.flush()
    except cyclopts.CycloptsError as error:
        return mistake(str(error))
    except ValueError as error:
        return mistake(str(error))
    except OverflowError:
        return mistake("a model must be small enough to count, but these numbers are too large")
    except RecursionError:
        return mistake("what was given is nested too deeply")
    except Terminated:
        tell("anybudget: ended by SIGTERM; finished work is kept")
        return TERMINATED
    except KeyboardInterrupt:
        tell("anybudget: interrupted; finished work is kept")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has enough; what is left in the buffer must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAULT
    except OSError as error:
        from ..files.disk import FAILING

        if error.errno not in FAILING:
            raise
        if error.filename is None:  # no file, so a stream: what is left in it must not fail at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        where = error.filename or "standard output"
        return mistake(f"{where} cannot be written: {error.strerror}")
    return 0
