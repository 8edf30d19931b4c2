"""The measures of a diagnosis: what they need, where they are from, what they find."""
