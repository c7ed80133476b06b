/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Put before the C library (LD_PRELOAD): every read and write does a part of what it is asked for, now and then none of
 * it, as a host may at any time. The file that COLDFIX_SHORT names is given the number of such calls.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static unsigned long calls, state = 1;

/* How many of `count` bytes, at least one; -1 for a call that a signal interrupts. */
static ssize_t part(size_t count)
{
	if (count < 2)
		return count;
	state = state * 6364136223846793005UL + 1442695040888963407UL;
	calls++;
	if ((state >> 33) % 5 == 0) {
		errno = EINTR;
		return -1;
	}
	return 1 + (state >> 35) % count;
}

__attribute__((destructor)) static void told(void)
{
	const char *name = getenv("COLDFIX_SHORT");
	FILE *file = name ? fopen(name, "w") : NULL;

	if (file) {
		fprintf(file, "%lu\n", calls);
		fclose(file);
	}
}

#define SHORTENED(result, name, arguments, call)                      \
	result name arguments                                         \
	{                                                             \
		static result(*real) arguments;                       \
		ssize_t some = part(count);                           \
		if (!real)                                            \
			real = (result(*) arguments)dlsym(RTLD_NEXT, #name); \
		return some < 0 ? some : real call;                   \
	}

SHORTENED(ssize_t, read, (int fd, void *buffer, size_t count), (fd, buffer, some))
SHORTENED(ssize_t, write, (int fd, const void *buffer, size_t count), (fd, buffer, some))
SHORTENED(ssize_t, pread, (int fd, void *buffer, size_t count, off_t at), (fd, buffer, some, at))
SHORTENED(ssize_t, pwrite, (int fd, const void *buffer, size_t count, off_t at), (fd, buffer, some, at))
SHORTENED(ssize_t, pread64, (int fd, void *buffer, size_t count, off64_t at), (fd, buffer, some, at))
SHORTENED(ssize_t, pwrite64, (int fd, const void *buffer, size_t count, off64_t at), (fd, buffer, some, at))
