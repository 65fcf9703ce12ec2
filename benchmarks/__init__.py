"""benchmarks — how fast and how big the mail room is, measured against an empty gRPC server on the same machine.

`python -m benchmarks` runs them all; README.md says what each one asks, and how.
"""

import os

# The benchmarks start processes while a channel is open; gRPC's fork handlers only get in the way of that.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
