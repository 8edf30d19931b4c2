"""What only the two engines need: code files of a stage, declarations, paths, locks, checks before the first rule."""
