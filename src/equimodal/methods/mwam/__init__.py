"""Multimodal weight allocation (MWAM)."""
