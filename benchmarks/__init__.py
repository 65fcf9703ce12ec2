"""benchmarks — Mailroom's speed and size, compared with an empty gRPC server on the same machine.

`python -m benchmarks` runs them all; README.md lists their questions and methods.
"""

import os

# The benchmarks start processes while a channel is open, which gRPC's fork handlers would disturb.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
