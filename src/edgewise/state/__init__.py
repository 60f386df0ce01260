"""State that outlives a process: embedded SQLite, NATS JetStream or Redis behind one contract."""
