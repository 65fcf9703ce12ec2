"""rpc — the gRPC face: servicers, conversion, and the one table from error to status."""
