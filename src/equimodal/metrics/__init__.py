"""Accuracy, macro-F1, imbalance and cost."""
