// SPDX-License-Identifier: Apache-2.0
// A runtime with nothing to it: it runs a list of plugins as libcni does, ADD in order and DEL in reverse, handing on
// each result as prevResult, so that what is measured is the plugins.
//
//   CNI_COMMAND=ADD|DEL CNI_CONTAINERID=... chain STATE PLUGINS TYPE CONFIGURATION [TYPE CONFIGURATION]...
//
// A configuration is an object without its last brace.
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

static void run(const char *type, const char *configuration) {
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
	static char answer[sizeof result];
	size_t got = 0;
	for (ssize_t n; (n = read(out[0], answer + got, sizeof answer - 1 - got)) > 0; got += n) {}
	answer[got] = 0;
	close(out[0]);
	int status;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
	if (status) {
		fprintf(stderr, "%s: status %d: %s\n", type, status, answer);
		exit(1);
	}
	if (got) strcpy(result, answer);
}

int main(int argc, char **argv) {
	const char *verb = getenv("CNI_COMMAND"), *id = getenv("CNI_CONTAINERID");
	if (argc < 5 || argc % 2 == 0 || !verb || !id || setenv("CNI_PATH", argv[2], 1) < 0) return 2;
	char cache[4096];
	snprintf(cache, sizeof cache, "%s/%s", argv[1], id);
	if (strcmp(verb, "ADD") == 0) {
		for (int i = 3; i < argc; i += 2) run(argv[i], argv[i + 1]);
		int fd = open(cache, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		ssize_t size = strlen(result);
		if (fd < 0 || write(fd, result, size) != size || write(1, result, size) != size) die(cache);
		return 0;
	}
	int fd = open(cache, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, result, sizeof result - 1) < 0) die(cache);
	for (int i = argc - 2; i >= 3; i -= 2) run(argv[i], argv[i + 1]);
	return unlink(cache);
}
