"""Alternating phases with flat minima and filtered gradients (MIE, IGM)."""
