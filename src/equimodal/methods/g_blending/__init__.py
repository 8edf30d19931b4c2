"""Gradient blending (G-Blend)."""
