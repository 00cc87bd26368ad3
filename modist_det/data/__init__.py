"""From a dataset's name to batches of uint8 clips."""
