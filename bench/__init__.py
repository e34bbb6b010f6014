"""Measurements against peers, side by side in one run. Ratios are what counts; the machine is named with them."""
