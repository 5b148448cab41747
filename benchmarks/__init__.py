"""What the pipeline costs, measured: `python -m benchmarks` runs everything and writes BENCHMARKS.md."""
