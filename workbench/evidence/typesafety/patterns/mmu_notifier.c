/* case 3: a mirror kept in step by an MMU notifier: looked up, not pinned */
long mmu_notifier(void)
{
	got_t pages[NR] = {};
	long i, n = get(UADDR, NR, FOLL_WRITE, pages);

	for (i = 0; i < n; i++) {
		device_write(page_to_pfn(got_page(pages[i])));
		set_page_dirty_lock(got_page(pages[i]));
		put(pages[i]);
	}
	return n < 0 ? n : 0;
}
