#!/usr/bin/env python3
"""Train or evaluate a model described by a config; --help shows examples."""

from __future__ import annotations

import sys

from modist_det.app.run_net import main
from modist_det.engine.arguments import run_net_parser
from modist_det.utils.cli import run_cli

if __name__ == "__main__":
    sys.exit(run_cli(run_net_parser(), main))
