"""Annotation and result files of other systems, read and written without torch."""
