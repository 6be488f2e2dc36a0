// SPDX-License-Identifier: Apache-2.0
// launch PROGRAM [ARGUMENT...]: runs a program and writes to file descriptor 3, in decimal: wait
// status, nanoseconds from before vfork to after wait4, page faults without I/O, microseconds of
// CPU, peak resident set in KiB, the start in nanoseconds of CLOCK_MONOTONIC, and page faults with
// I/O. The CPU time is user and kernel together: the kernel divides the sum by ticks, which are
// longer than a whole run.
//
// If file descriptor 4 is open, it waits first until the other end of that pipe is closed. So many
// programs can start at once.
//
// A program with more threads and memory than this one would measure itself, too: waking its
// scheduler costs more than an empty program runs. And on exec the kernel carries the caller's peak
// resident set over (exec_mmap calls setmax_mm_hiwater_rss), so a large caller can't weigh a small
// program.
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long micros(struct timeval t) { return t.tv_sec * 1000000L + t.tv_usec; }

static char *cat_number(char *at, long n) {
	if (n >= 10) at = cat_number(at, n / 10);
	*at++ = '0' + n % 10;
	return at;
}

int main(int argc, char **argv) {
	if (argc < 2) return 2;
	struct timespec start, end;
	struct rusage usage;
	int status;
	char gate;
	if (read(4, &gate, 1) == 0) close(4); // EBADF where there's no gate
	clock_gettime(CLOCK_MONOTONIC, &start);
	pid_t pid = vfork();
	if (pid == 0) {
		close(3);
		execv(argv[1], argv + 1);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &usage) != pid) return 1;
	clock_gettime(CLOCK_MONOTONIC, &end);
	long figures[] = {
		status, (end.tv_sec - start.tv_sec) * 1000000000L + end.tv_nsec - start.tv_nsec, usage.ru_minflt,
		micros(usage.ru_utime) + micros(usage.ru_stime), usage.ru_maxrss,
		start.tv_sec * 1000000000L + start.tv_nsec, usage.ru_majflt,
	};
	char text[256], *at = text;
	for (unsigned i = 0; i < sizeof figures / sizeof *figures; i++) {
		at = cat_number(at, figures[i]);
		*at++ = ' ';
	}
	return write(3, text, at - text) < 0;
}
