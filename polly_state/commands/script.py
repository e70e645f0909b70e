"""The Lua scripts, which are files of this package."""

from __future__ import annotations

from functools import cached_property

__all__ = ["Script"]


class Script:
    """A Lua script of this package: sent by its digest, and whole when the server does not know it.

    Every script starts with ``stamps.lua``, which holds what all share, and the files that it *shares* with some,
    unless it stands *alone*; one may answer in place of another, which comes *then*. No more than is needed, for a
    server makes these functions anew with each call.
    """

    def __init__(self, name: str, *shares: str, alone: bool = False, then: str = "") -> None:
        self.name = name
        self._parts = (name,) if alone else tuple(part for part in ("stamps", *shares, name, then) if part)

    @cached_property
    def source(self) -> bytes:
        from importlib.resources import files

        folder = files("polly_state.commands") / "lua"
        return b"\n".join(folder.joinpath(f"{name}.lua").read_bytes() for name in self._parts)

    @cached_property
    def digest(self) -> str:
        import hashlib

        return hashlib.sha1(self.source, usedforsecurity=False).hexdigest()
