"""Helpers that every other part may use and that use none of them."""
