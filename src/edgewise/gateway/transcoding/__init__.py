"""JSON over HTTP to gRPC: which method a request calls, the message it makes, and what becomes of the answer."""
