"""gateway — the worker that speaks gRPC: requests in, answers and streams out."""
