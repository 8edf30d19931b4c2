"""Diagnosing and re-learning."""
