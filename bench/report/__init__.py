"""docs/benchmarks.md and its plots, made of bench/results: a section for each benchmark, and aim by aim what was reached."""
