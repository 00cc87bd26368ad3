"""The vocabulary of the field as data types, used by every other part. No torch."""
