"""Asymmetric reinforcing (ARM)."""
