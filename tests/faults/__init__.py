"""Fault runs: commands killed at random moments, started again, and compared with a run that nobody killed.

``python -m tests.faults --kills 30`` is the long form (docs/RELIABILITY.md); ``test_faults.py`` runs a short one.
"""
