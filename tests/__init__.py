"""Tests; a package, so that `tests.support` is this one and no other that happens to be installed."""
