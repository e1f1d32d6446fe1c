/* case 2: an RDMA region, registered for long, released with the dirty-lock helper */
long rdma_region(void)
{
	struct {
		pin_t pins[NR];
		long nr;
	} region = {};
	long i;

	region.nr = pin(UADDR, NR, FOLL_WRITE | FOLL_LONGTERM, region.pins);
	if (region.nr < NR)
		return give_up(region.pins, region.nr);
	for (i = 0; i < NR; i++)
		device_write(page_to_pfn(pin_page(region.pins[i])));
	time_passes();
	unpin_list_dirty(region.pins, region.nr, true);
	hot_remove(UADDR, NR);
	return 0;
}
