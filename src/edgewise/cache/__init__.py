"""RFC 9111 as pure functions: what is stored, for whom and how long; keys, tags, purges, memory and disk."""
