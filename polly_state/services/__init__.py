"""The domains, one small file each."""

from polly_state.services.limits import RULES, Limits
from polly_state.services.preferences import Preferences
from polly_state.services.preferences_file import Imported

__all__ = ["RULES", "Imported", "Limits", "Preferences"]
