"""Training methods: `registry` names them, `base` is their contract, one folder each."""
