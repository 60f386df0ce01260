"""What a request must pass before it is sent on: rate limits, on one worker or shared by nodes."""
