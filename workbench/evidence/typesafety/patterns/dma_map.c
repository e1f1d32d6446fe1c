/* physical addresses for a device that keeps them */
long dma_map(void)
{
	unsigned long phys[NR] = {};
	pin_t pins[NR] = {};
	long i, n = pin(UADDR, NR, FOLL_WRITE | FOLL_LONGTERM, pins);

	if (n < NR)
		return give_up(pins, n);
	for (i = 0; i < NR; i++)
		phys[i] = page_to_phys(pin_page(pins[i]));
	time_passes();
	for (i = 0; i < NR; i++) {
		device_write(phys[i] >> PAGE_SHIFT);
		set_page_dirty_lock(pin_page(pins[i]));
	}
	unpin_list(pins, n);
	hot_remove(UADDR, NR);
	return 0;
}
