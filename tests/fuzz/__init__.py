"""A fuzzer of everything that reads files: the right result or a ``UserError``, whatever the file.

    python -m tests.fuzz --minutes 10                # all kinds, one worker per processor
    python -m tests.fuzz --kind video --cases 200    # one kind
    python -m tests.fuzz --replay video 17           # one case again, in this process

docs/RELIABILITY.md says what is promised and what the fuzzer found.
"""
