"""The training loop, its hooks, the command line's set-up and launch.

Nothing is imported here, so that ``--help`` does not wait for torch.
"""
