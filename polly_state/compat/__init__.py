"""Adapters with the documented names of what bots used before: their code runs after changing only the import."""

__all__ = ()
