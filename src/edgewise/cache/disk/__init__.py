"""The store on disk: files that are whole or missing, shared by the workers of a machine, found without an index."""
