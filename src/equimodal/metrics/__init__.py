"""Measures as pure functions of numbers."""
