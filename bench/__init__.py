"""Measurements against peers, side by side in one run. Ratios are what counts; the machine is named with them.

    ./dev bench all       everything that the report needs, and the report: hours; says how many minutes it expects
    ./dev bench receive   one of them; --help tells its options
    ./dev bench report    docs/benchmarks.md again, of what bench/results holds

Each keeps its results in bench/results/<name>.json, the newest first and the four before it, and the report says what became
worse since the one before. Measure on a machine that does nothing else. A figure is one round's; a ratio is taken within a
round; a median goes with the interval that holds the true one in 95% of cases (bench/measure.py).
"""
