"""Alternating training in the order of Shapley values."""
