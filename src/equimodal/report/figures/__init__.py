"""The figures of a result, one module each: `draw(...)` gives a matplotlib figure."""
