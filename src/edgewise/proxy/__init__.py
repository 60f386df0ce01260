"""The engine: sockets, plans, pools and relays that carry one request from client to upstream and back."""
