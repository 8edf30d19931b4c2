"""Training methods: `registry` names them, `base` is their contract, one file (or folder) each."""
