/* a driver keeps its pins in an XArray, which may hold value entries too */
long keep_in_xarray(void)
{
	struct xarray xa = {};
	pin_t pins[NR] = {};
	void *entry;
	long i, nr = 0, n = pin(UADDR, NR, FOLL_WRITE | FOLL_LONGTERM, pins);

	if (n < NR)
		return give_up(pins, n);
	for (i = 0; i < NR; i++)
		xa_store(&xa, i, pin_to_entry(pins[i]));
	time_passes();
	for (i = 0; i < n; i++) {
		entry = xa_load(&xa, i);
		if (!entry || xa_is_value(entry))
			continue;
		nr++;
		unpin(entry_to_pin(entry));
	}
	expect_count(nr, NR, "entries with a pin");
	return 0;
}
