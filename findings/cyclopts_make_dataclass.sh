#!/usr/bin/env bash
# Guess: a class from dataclasses.make_dataclass gives cyclopts the same options as the class written
#   out by hand.
# Seen: on Python 3.11 the made class calls itself a part of the module `types`, cyclopts 5.5.2 takes
#   classes of the standard library for values and not for groups of options, and so every option of
#   it is unknown. With the module's name set by hand, or on Python 3.12, which sets it, all is well.
# Needs python3.11 and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q cyclopts==5.5.2
cat >"$folder/options.py" <<'PY'
import dataclasses
import platform
from importlib.metadata import version
from typing import Annotated

import cyclopts


@dataclasses.dataclass(kw_only=True, frozen=True)
class Written:
    width: int = 1


def made(name):
    field = ("width", int, dataclasses.field(default=1))
    return dataclasses.make_dataclass(name, [field], kw_only=True, frozen=True)


def answer(cls):
    """What a command with the options of a class makes of --width 3."""
    app = cyclopts.App(result_action="return_value")

    @app.command
    def show(options: Annotated[cls, cyclopts.Parameter(name="*")] = cls()):
        return options.width

    try:
        return app(["show", "--width", "3"], exit_on_error=False, print_error=False)
    except cyclopts.UnknownOptionError as error:
        return str(error)


Made, Named = made("Made"), made("Named")
Named.__module__ = __name__
print("Python", platform.python_version(), "cyclopts", version("cyclopts"))
seen = {f"{cls.__module__}.{cls.__name__}": answer(cls) for cls in (Written, Made, Named)}
for name, value in seen.items():
    print(f"{name}: {value}")
values = list(seen.values())
if values[0] == values[2] == 3 and "--width" in str(values[1]):
    print("as found: the made class has no options, the named one has")
else:
    raise SystemExit("no longer so")
PY
"$folder/venv/bin/python" "$folder/options.py"
