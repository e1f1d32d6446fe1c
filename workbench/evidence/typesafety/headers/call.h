/* What the call-site patterns share. */
#ifndef CALL_H
#define CALL_H

/* A short pin: release what there is of it, and say why. */
static inline long give_up(pin_t *pins, long nr)
{
	long i;

	for (i = 0; i < nr; i++)
		unpin(pins[i]);
	return nr < 0 ? nr : -ENOMEM;
}

#endif
