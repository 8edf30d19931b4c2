"""Multimodal negative learning (MNL)."""
