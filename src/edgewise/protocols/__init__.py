"""Sans-I/O codecs: bytes in, events out, bytes back; nothing here knows of a socket."""
