"""The one training loop and what it needs: data, input transforms, schedule, checkpoints."""
