"""HTTP's own values: heads, fields, targets, dates. Immutable, standard library only."""
