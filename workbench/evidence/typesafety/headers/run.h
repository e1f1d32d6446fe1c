/* Runs every call site in a process of its own, on a debug kernel (argument 1) or another (0). */
#ifndef RUN_H
#define RUN_H

int fork(void);
int waitpid(int pid, int *status, int options);
unsigned int alarm(unsigned int seconds);
int atoi(const char *text);

struct call_site {
	long (*call)(void);
	long expected;			/* what it returns when all is well */
	bool dax;
	int pool;			/* descriptors that gup can allocate */
};

static inline void run_one(const struct call_site *site, bool debug)
{
	long returned;

	alarm(2);
	world_begin(debug, site->dax, site->pool);
	returned = site->call();
	if (returned == -EOPNOTSUPP && site->expected != returned)
		trap("gup", "-EOPNOTSUPP: FOLL_LONGTERM on fsdax");
	if (returned != site->expected)
		trap("returned", "%ld instead of %ld", returned, site->expected);
	world_end();
	fflush(NULL);
	_exit(world.went_wrong ? 4 : 0);
}

static inline int run_all(const struct call_site *sites, int nr, bool debug)
{
	int i, pid, status;

	for (i = 0; i < nr; i++) {
		printf("== %d\n", i);
		fflush(NULL);
		pid = fork();
		if (pid < 0)
			return 1;
		if (!pid)
			run_one(&sites[i], debug);
		if (waitpid(pid, &status, 0) != pid)
			return 1;
		printf("-- %d\n", status);
	}
	printf("== end\n");
	return 0;
}

#endif
