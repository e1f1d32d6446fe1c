"""Facts of a kernel build: constants per architecture, struct layouts, slab packing."""
