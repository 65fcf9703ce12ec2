"""servers — what the benchmarks measure and compare, each in its own processes."""
