"""The commands that mend, one a module: what is typed, checked and printed. What they do stands beside this package."""
