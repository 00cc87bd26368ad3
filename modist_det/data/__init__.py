"""From a data set's name to batches of uint8 clips."""
