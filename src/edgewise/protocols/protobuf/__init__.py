"""Protocol buffers on the wire, and the same in JSON: a codec for each message type, made of its descriptor."""
