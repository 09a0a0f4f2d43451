"""A real one-node Kubernetes for LongTask, on a machine with no Docker engine."""
