"""State on Redis or Valkey: one server, or one primary with replicas; no cluster."""
