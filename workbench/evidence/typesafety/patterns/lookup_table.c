/* a table of pins, kept as a page cache is: value entries stand for pages that are not there */
long lookup_table(void)
{
	struct xarray xa = {};
	pin_t ref, pins[NR] = {};
	void *entry;
	long i, nr = 0, n = pin(UADDR, NR, FOLL_WRITE, pins);

	if (n < NR)
		return give_up(pins, n);
	for (i = 0; i < NR; i++)
		xa_store(&xa, i, pin_to_entry(pins[i]));
	for (i = 0; i < NR; i++) {
		entry = xa_load(&xa, i);
		if (xa_is_value(entry))
			continue;
		ref = entry_to_pin(entry);
		device_write(page_to_pfn(pin_page(ref)));
		set_page_dirty_lock(pin_page(ref));
		nr++;
	}
	expect_count(nr, NR, "pages that the device wrote");
	unpin_list(pins, n);
	return 0;
}
