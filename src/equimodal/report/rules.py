"""The three ways of choosing an epoch, in words."""

RULES = {
    "val": "best on validation (the result)",
    "last": "last epoch",
    "test": "best on test: the literature's rule, optimistic",
}
SAMPLE_NOTE = "generated sample: shows that the chain works, is no result"
# How lines of a caption begin that say why numbers say little.
WARNING = "Warning: "
