"""One schema for TOML, environment, command line and docs; errors name file, line and key."""
