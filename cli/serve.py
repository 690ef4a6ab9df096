"""For other programs: proxy, completion."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from .output import tell


def proxy(
    storage: str,
    /,
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=Number(gte=1, lte=65535))] = 13000,
) -> None:
    """Serve a database's studies to `find --storage grpc://HOST:PORT`, until interrupted.

    Example: `anybudget proxy postgresql://localhost/studies`

    Args:
        storage: URL of the database behind it.
        host: Address to listen on.
        port: Port to listen on.
    """
    from ..search.explore.storage import serve

    serve(storage, host, port, on_ready=tell)


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print what makes a shell complete commands and options.

    Example: `anybudget completion bash >> ~/.bashrc`

    Args:
        shell: The shell that reads it.
    """
    from .main import build

    print(build(described=True).generate_completion(shell=shell))
