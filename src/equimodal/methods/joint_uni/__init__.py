"""Joint training with unimodal losses."""
