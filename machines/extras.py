"""What is installed here of what extras bring."""

from importlib.util import find_spec


def is_there(*packages: str) -> bool:
    """Whether packages of an extra are installed."""
    return all(find_spec(package) for package in packages)


def need(what: str, extra: str, *packages: str) -> None:
    """Refuse before any work what an extra that is not installed is needed for.

    Raises:
        ValueError: one of its packages is missing.
    """
    if not is_there(*packages):
        raise ValueError(f"{what} needs {', '.join(packages)}: pip install 'anybudget[{extra}]'")


def left_out(what: str, extra: str, *packages: str) -> list[str]:
    """A sentence where what an extra adds is left out; none where it is installed."""
    if is_there(*packages):
        return []
    return [f"{what} left out: pip install 'anybudget[{extra}]' adds it"]
