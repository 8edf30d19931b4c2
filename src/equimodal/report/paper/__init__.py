"""Tables and figures of several results together, as AIM's paper has them: one module each."""
