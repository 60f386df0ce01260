"""What a request must pass before it is sent on: rate limits of one worker or of all nodes, the same origin."""
