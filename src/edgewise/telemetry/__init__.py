"""What happened: access log, metrics and trace context, recorded cheaply and encoded off the hot path."""
