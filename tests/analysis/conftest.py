"""Runs on a tiny data set with a tiny model, as in the engine's tests."""

from tests.engine.conftest import write_config

__all__ = ["write_config"]
