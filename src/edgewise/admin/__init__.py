"""The control address: status, upstreams, drain, reload and metrics over HTTP."""
