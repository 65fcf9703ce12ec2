"""servers — what the benchmarks measure and what they compare it with, each in processes of its own."""
