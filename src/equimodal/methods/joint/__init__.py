"""Joint training: cross entropy on the fused logits."""
