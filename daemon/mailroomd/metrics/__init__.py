"""metrics — the worker that serves Prometheus metrics over HTTP."""
