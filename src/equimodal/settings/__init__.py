"""Settings models: their common base, and the sections that several rooms share.

Cheap to import: no torch, no media libraries.
"""
