"""clients — sources of load: h2load, and Python clients that run in their own processes."""
