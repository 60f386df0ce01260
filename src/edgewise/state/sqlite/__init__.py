"""The embedded engine: SQLite files with one writer process, which the others ask over a Unix socket."""
