"""Other frameworks; each module imports its own, and nothing else of the project imports any of them."""
