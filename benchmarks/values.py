"""What is stored: profiles, slotted dataclasses of 1, 10 and 100 texts."""

from __future__ import annotations

from dataclasses import make_dataclass
from typing import Any

__all__ = ["IDS", "SIZES", "frozen", "profile"]

SIZES = (1, 10, 100)
IDS = tuple(f"user-{number}" for number in range(64))


def _declare(size: int) -> type:
    names = [(f"field{number}", str) for number in range(size)]
    # Pickle looks for the class where it says it is from.
    return make_dataclass(f"Profile{size}", names, slots=True, namespace={"__module__": __name__})


Profile1, Profile10, Profile100 = (_declare(size) for size in SIZES)
PROFILES: dict[int, Any] = dict(zip(SIZES, (Profile1, Profile10, Profile100), strict=True))


Frozen10 = make_dataclass(
    "Frozen10", PROFILES[10].__annotations__.items(), frozen=True, slots=True, namespace={"__module__": __name__}
)


def frozen() -> Any:
    """The same as `profile(10)`, of a class whose objects can not be changed."""
    return Frozen10(*(f"value {number}" for number in range(10)))


def profile(size: int) -> Any:
    """A profile of *size* fields; as JSON it has about 22 bytes for each."""
    return PROFILES[size](*(f"value {number}" for number in range(size)))
