#!/usr/bin/env python3
"""Detect people's actions in videos, or classify videos; the same as ``modist-det predict``."""

from __future__ import annotations

import sys

from modist_det.app.demo import get_parser, main
from modist_det.utils.cli import run_cli

if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
