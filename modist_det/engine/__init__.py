"""The training loop, its hooks, the command line's set-up and launch.

Nothing is imported here, so that a command's ``--help`` need not wait for torch.
"""
