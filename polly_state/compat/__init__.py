"""The names that bots used before, over a `PollyState`: change the import, and keep the rest."""

__all__ = ()
