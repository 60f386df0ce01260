"""Which server answers: balancing policies, health, outlier ejection, circuit breaking, slow start."""
