"""Analysis of data, models and results: benchmarks, probes, Grad-CAM, reports."""
