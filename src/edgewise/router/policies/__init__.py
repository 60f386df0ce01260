"""Policies of the configuration to those that requests pass: which hold where, in what order, and what they share."""
