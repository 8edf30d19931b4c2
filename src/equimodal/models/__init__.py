"""Encoders, fusion heads and the multimodal framework with its blocks exposed."""
