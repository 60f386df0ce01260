"""A small ACME client (RFC 8555): the protocol without I/O, a transport for it, and what certificates it orders."""
