"""Syntax of patterns and templates."""
