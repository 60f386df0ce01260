"""The composition root: supervisor, workers, control process, listeners, signals, reload."""
