"""Balanced learning by conditional learning speeds (Greedy)."""
