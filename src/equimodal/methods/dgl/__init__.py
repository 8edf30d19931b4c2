"""Disentangled gradient learning (DGL)."""
