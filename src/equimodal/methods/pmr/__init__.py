"""Prototypical modal rebalance (PMR)."""
