"""Joint training with unimodal losses and a linear classifier on the last blocks."""
