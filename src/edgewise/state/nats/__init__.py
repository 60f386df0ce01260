"""State on NATS JetStream: streams for keys, blobs, counters and leases, and one for each topic."""
