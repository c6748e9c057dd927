/* Hurts the disk of one node at a time. Loaded with LD_PRELOAD. A file NAME.eio in the folder FAULTS_DIR makes fdatasync
 * and fsync fail with EIO for everything below a folder NAME; NAME.full makes pwrite fail with ENOSPC. Each injected
 * failure appends a byte to that file, so that a test can prove that it fired; removing it ends the fault. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int must_fail(int fd, const char *kind) {
    const char *dir = getenv("FAULTS_DIR");
    if (!dir) return 0;
    char link[64], target[PATH_MAX], rule[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, target, sizeof target - 1);
    if (n <= 0) return 0;
    target[n] = 0;
    char *name = strstr(target, "/keeper-");
    if (!name) return 0;
    name++;
    name[strcspn(name, "/")] = 0;
    snprintf(rule, sizeof rule, "%s/%s.%s", dir, name, kind);
    int mark = open(rule, O_WRONLY | O_APPEND);
    if (mark < 0) return 0;
    (void)!write(mark, "x", 1);
    close(mark);
    return 1;
}

#define SYNC(name)                                                      \
    int name(int fd) {                                                  \
        static int (*real)(int);                                        \
        if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, #name);        \
        if (must_fail(fd, "eio")) { errno = EIO; return -1; }           \
        return real(fd);                                                \
    }

#define PWRITE(name)                                                    \
    ssize_t name(int fd, const void *buf, size_t len, off_t at) {       \
        static ssize_t (*real)(int, const void *, size_t, off_t);       \
        if (!real) real = (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, #name); \
        if (must_fail(fd, "full")) { errno = ENOSPC; return -1; }       \
        return real(fd, buf, len, at);                                  \
    }

SYNC(fdatasync)
SYNC(fsync)
PWRITE(pwrite)
PWRITE(pwrite64)
