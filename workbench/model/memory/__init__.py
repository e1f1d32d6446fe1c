"""A machine's physical memory and what is in it."""
