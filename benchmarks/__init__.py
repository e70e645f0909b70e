"""How fast it is, and how soon it notices: measured beside its peers, not part of the package."""
