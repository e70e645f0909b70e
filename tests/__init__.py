"""Tests; a package, so that they can share helpers as `tests.NAME`."""
