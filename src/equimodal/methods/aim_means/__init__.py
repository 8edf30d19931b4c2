"""Joint training with unimodal losses and running class means of the last blocks."""
