"""Measurements, as ratios within one run: machines are noisy, and only what was measured side by side compares."""
