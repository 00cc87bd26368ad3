"""Measurements behind ``tools/benchmark.py``, one module per subcommand.

Nothing is imported here, so that ``--help`` does not wait for torch.
"""
