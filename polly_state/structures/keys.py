"""Keys: `<namespace>:<family>:{<id parts>}`, so that no id can collide, leave its slot or act as a pattern."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

__all__ = ["Family", "Id"]

Id: TypeAlias = str | int | tuple[str | int, ...]
"""What a thing is called by its users: a text, a number, or several of them in order."""

NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")
PLAIN: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}").fullmatch
UNSAFE: Final = re.compile(rb"[^A-Za-z0-9_.-]")
MAX_KEY: Final = 256
MAX_ID: Final = 4096
MAX_PLAIN_BITS: Final = 64


class Family:
    """All keys of one kind of thing in one namespace."""

    def __init__(self, namespace: str, name: str) -> None:
        if not NAME.fullmatch(name):
            raise ValueError(f"a family's name is made of letters, digits, '_', '.' and '-', not {name!r}")
        self.namespace = namespace
        self.name = name
        self.prefix = f"{namespace}:{name}:{{"
        """What all keys begin with; the id follows, and a brace."""

    def key(self, id: Id) -> str:
        """The key of *id*; a very long one is replaced by its BLAKE2 digest.

        Raises:
            TypeError: It is not a str, an int, or a tuple of them.
            ValueError: It is empty, or longer than 4096 bytes.
        """
        if (type(id) is int and id.bit_length() <= MAX_PLAIN_BITS) or (type(id) is str and PLAIN(id)):
            return f"{self.prefix}{id}}}"
        parts = id if isinstance(id, tuple) else (id,)
        if not parts:
            raise ValueError("an id must not be empty")
        encoded = ":".join(_encoded(part) for part in parts)
        if len(encoded) > MAX_KEY - len(self.prefix) - 1:
            from hashlib import blake2b

            # No encoded id begins with a tilde.
            encoded = "~" + blake2b(encoded.encode(), digest_size=16).hexdigest()
        return f"{self.prefix}{encoded}}}"

    def plain(self, key: str) -> bool:
        """Whether *key* is that of the text or number that stands in it, as far as can be told at a glance."""
        return PLAIN(key, len(self.prefix), len(key) - 1) is not None


def _encoded(part: str | int) -> str:
    if type(part) is str and PLAIN(part):
        return part
    if isinstance(part, bool) or not isinstance(part, (str, int)):
        raise TypeError(f"an id is made of str and int, not {type(part).__name__}")
    try:
        text = str(part).encode()
    except UnicodeEncodeError as error:
        raise ValueError("an id must be encodable as UTF-8") from error
    if not 0 < len(text) <= MAX_ID:
        raise ValueError(f"an id must have 1 to {MAX_ID} bytes")
    return UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], text).decode()
