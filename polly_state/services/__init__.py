"""The domains, one small file each."""

from polly_state.services.preferences import Imported, Preferences

__all__ = ["Imported", "Preferences"]
