/* Fails fdatasync and fsync with EIO while the file named by FAILSYNC_WHEN exists, for paths that contain
 * FAILSYNC_PATH. Loaded with LD_PRELOAD; each injected failure appends a byte to FAILSYNC_WHEN, so that a test can
 * prove that it fired. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int must_fail(int fd) {
    const char *when = getenv("FAILSYNC_WHEN"), *path = getenv("FAILSYNC_PATH");
    if (!when || !path) return 0;
    char link[64], target[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, target, sizeof target - 1);
    if (n <= 0) return 0;
    target[n] = 0;
    if (!strstr(target, path)) return 0;
    int mark = open(when, O_WRONLY | O_APPEND);
    if (mark < 0) return 0;
    (void)!write(mark, "x", 1);
    close(mark);
    return 1;
}

#define FAILING(name)                                                   \
    int name(int fd) {                                                  \
        static int (*real)(int);                                        \
        if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, #name);        \
        if (must_fail(fd)) { errno = EIO; return -1; }                  \
        return real(fd);                                                \
    }

FAILING(fdatasync)
FAILING(fsync)
