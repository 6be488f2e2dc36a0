// SPDX-License-Identifier: Apache-2.0
// A minimal runtime, so that only the plugins are measured. It runs a list of plugins as libcni
// does, ADD in order and DEL in reverse, and passes each result on as prevResult.
//
//   CNI_COMMAND=ADD|DEL CNI_CONTAINERID=... chain STATE PLUGINS {TYPE CONFIGURATION}...
//
// A configuration is an object without its last brace. A loopback at the beginning isn't part of
// the list: it gets the link lo, and runs beside ADD and before DEL, as in containerd.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char result[1 << 16], input[1 << 17];

static _Noreturn void die(const char *what) {
	perror(what);
	exit(1);
}

// A running plugin, and the pipe for its answer.
struct running {
	const char *type;
	pid_t pid;
	int out;
};

static struct running start(const char *type, const char *configuration) {
	char path[4096];
	snprintf(path, sizeof path, "%s/%s", getenv("CNI_PATH"), type);
	int size = snprintf(input, sizeof input, *result ? "%s,\"prevResult\":%s}" : "%s}", configuration, result);
	int in[2], out[2];
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0) die("pipe");
	char *argv[] = {path, NULL};
	pid_t pid = vfork();
	if (pid < 0) die("vfork");
	if (pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		execve(path, argv, environ);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	if (write(in[1], input, size) != size) die("write");
	close(in[1]);
	return (struct running){type, pid, out[0]};
}

static char *finish(struct running r) {
	static char answer[sizeof result];
	size_t got = 0;
	for (ssize_t n; (n = read(r.out, answer + got, sizeof answer - 1 - got)) > 0; got += n) {}
	answer[got] = 0;
	close(r.out);
	int status;
	while (waitpid(r.pid, &status, 0) < 0 && errno == EINTR) {}
	if (status) {
		fprintf(stderr, "%s: status %d: %s\n", r.type, status, answer);
		exit(1);
	}
	return answer;
}

static void run(const char *type, const char *configuration) {
	char *answer = finish(start(type, configuration));
	if (*answer) strcpy(result, answer);
}

static struct running startLoopback(const char *configuration) {
	if (setenv("CNI_IFNAME", "lo", 1) < 0) die("setenv");
	struct running r = start("loopback", configuration);
	if (setenv("CNI_IFNAME", "eth0", 1) < 0) die("setenv");
	return r;
}

int main(int argc, char **argv) {
	const char *verb = getenv("CNI_COMMAND"), *id = getenv("CNI_CONTAINERID");
	if (argc < 5 || argc % 2 == 0 || !verb || !id || setenv("CNI_PATH", argv[2], 1) < 0) return 2;
	char cache[4096];
	snprintf(cache, sizeof cache, "%s/%s", argv[1], id);
	int beside = strcmp(argv[3], "loopback") == 0, first = beside ? 5 : 3;
	struct running loopback = {0};
	if (beside) loopback = startLoopback(argv[4]);
	if (strcmp(verb, "ADD") == 0) {
		for (int i = first; i < argc; i += 2) run(argv[i], argv[i + 1]);
		if (beside) finish(loopback);
		int fd = open(cache, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		ssize_t size = strlen(result);
		if (fd < 0 || write(fd, result, size) != size || write(1, result, size) != size) die(cache);
		return 0;
	}
	if (beside) finish(loopback);
	int fd = open(cache, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, result, sizeof result - 1) < 0) die(cache);
	for (int i = argc - 2; i >= first; i -= 2) run(argv[i], argv[i + 1]);
	return unlink(cache);
}
