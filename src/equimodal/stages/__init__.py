"""One module per stage: `run(params, ...)` reads declared files, calls the library, and writes declared files, relative
to the current folder.
"""
