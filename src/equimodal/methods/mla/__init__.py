"""Alternating unimodal adaptation: MLA."""
