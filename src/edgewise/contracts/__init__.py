"""The doors between the engine and its features, and the one list of what comes built in."""
