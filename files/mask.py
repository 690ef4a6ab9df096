"""Secrets in what is kept or shown: the one place that takes them out.

A password stands in an address, `scheme://user:password@host`, or in its query, `?password=…`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote, unquote_plus

HIDDEN = "***"
ADDRESS = re.compile(r"[a-z][\w+.-]*://\S+", re.IGNORECASE)
# A password may hold an @ of its own: the host is behind the last.
USER = re.compile(r"(?<=://)([^:@/]*):(.*)@", re.DOTALL)
QUERY = re.compile(
    r"([?&;][^=&;?]*(?:pass|pwd|secret|token|key|auth|credential)[^=&;]*=)([^&;\"'\s]*)",
    re.IGNORECASE,
)
# A study's address in a command line.
STUDY = re.compile(rb"--storage[ =]\S*://")
# Shorter ones stand in too many words to be taken out of a text by themselves.
LEAST_CHARS = 4


def masked(text: str, words: Iterable[str] = ()) -> str:
    """A text without the passwords of the addresses in it.

    Args:
        text: to be kept or shown.
        words: of a command line; the secrets in its addresses are taken out of the text wherever
            they stand, for a driver's error may hold one without its address.
    """
    for secret in sorted(_secrets(words), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return ADDRESS.sub(lambda found: _without(found[0]), text)


def masked_command(words: Iterable[str]) -> str:
    """A command line, its words masked."""
    return " ".join(_without(word) if "://" in word else word for word in words)


def names_a_study(content: bytes) -> bool:
    """Whether a file says where a study lies, as the command line in it does: it is private."""
    return STUDY.search(content) is not None


def _without(address: str) -> str:
    return QUERY.sub(rf"\1{HIDDEN}", USER.sub(rf"\1:{HIDDEN}@", address))


def _secrets(words: Iterable[str]) -> set[str]:
    found = [
        match[2] for word in words if "://" in word for kind in (USER, QUERY)
        for match in kind.finditer(word)
    ]  # fmt: skip
    forms = {form(secret) for secret in found for form in (str, unquote, unquote_plus)}
    return {secret for secret in forms if len(secret) >= LEAST_CHARS}
