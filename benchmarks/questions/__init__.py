"""questions — one module per question that the benchmarks answer, each with a `measure(options)`."""
