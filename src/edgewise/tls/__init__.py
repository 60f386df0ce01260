"""Certificates and contexts: SNI by a peeked ClientHello, ACME, an internal authority, client certificates."""
