"""Looking at data, networks and results after the fact: benchmarks, probes, Grad-CAM, reports."""
