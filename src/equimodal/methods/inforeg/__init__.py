"""Information acquisition regulation: InfoReg."""
