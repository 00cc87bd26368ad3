"""Datasets, augmentation and loaders: from a dataset's name to batches of uint8 clips."""
