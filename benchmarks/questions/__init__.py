"""questions — one module for each question that the benchmarks answer; each has a `measure(options)`."""
