"""Adaptive gradient modulation (AGM)."""
