"""What observes a model: passes over a split, probes, imbalance by depth, operations and memory."""
