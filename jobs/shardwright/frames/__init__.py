"""Lazy columns and frames: no action, no storage; native expressions only, so that they run on a GPU."""
