"""Certificates and contexts: SNI selection by a peeked ClientHello, client certificates, upstream verification."""
