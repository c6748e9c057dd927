/* Hurts one node at a time. Loaded with LD_PRELOAD into every process of a cluster.
 *
 * A node is named by the argument behind --node-id. A rule is a file NODE.KIND in the folder FAULTS_DIR; its first line may
 * hold a number. Each injected fault appends a byte to the rule, so that a test can prove that it fired; removing the file
 * ends the fault. Disk faults meet only files below a folder NODE.
 *
 *   eio       fdatasync and fsync fail with EIO
 *   lie       fdatasync and fsync do nothing and say that all is well
 *   stall     fdatasync and fsync wait for as long as the rule is there
 *   full      pwrite fails with ENOSPC
 *   slow      pwrite takes so many milliseconds more
 *   torn      the next pwrite to a segment leaves out the last so many bytes, and the process is gone
 *   clock     the wall clock is so many seconds ahead; the monotonic one is untouched
 *   cut-PORT  packets (UDP) to this port of 127.0.0.1 are lost
 *
 * With FAULTS_UNDO=1 a keeper's pwrites first note what they overwrite in NODE.undo, and its syncs note what they cover: from
 * that, a test makes what a power cut would have left. With FAULTS_SWITCH=PORT a keeper's connections to 127.0.0.1 go to
 * this port instead, and begin with 32 bytes that name the node and the port that it wanted.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PREAMBLE_BYTES 32
#define MARKS_MAX 1000

static char node[64];
static const char *dir;
static int is_keeper, undo_fd = -1, switch_port;
static pthread_mutex_t undo_lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void who_am_i(void) {
    dir = getenv("FAULTS_DIR");
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    if (!dir || fd < 0) return;
    static char line[65536];
    ssize_t len = read(fd, line, sizeof line - 1);
    close(fd);
    for (char *word = line; len > 0 && word < line + len; word += strlen(word) + 1)
        if (!strcmp(word, "--node-id")) snprintf(node, sizeof node, "%s", word + strlen(word) + 1);
    is_keeper = !strncmp(node, "keeper", 6);
    const char *port = getenv("FAULTS_SWITCH");
    if (!is_keeper) return;
    if (port) switch_port = atoi(port);
    if (getenv("FAULTS_UNDO")) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s.undo", dir, node);
        undo_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
}

/* Opens a rule if it is there. */
static int rule(const char *kind, char path[PATH_MAX]) {
    if (!dir || !node[0]) return -1;
    snprintf(path, PATH_MAX, "%s/%s.%s", dir, node, kind);
    return open(path, O_RDWR | O_APPEND | O_CLOEXEC);
}

/* Whether a fault is to be injected now; its number. Says that it is. */
static int fires(const char *kind, long *number) {
    int saved = errno;
    char path[PATH_MAX], text[32] = "";
    int fd = rule(kind, path);
    if (fd >= 0) {
        if (read(fd, text, sizeof text - 1) > 0 && number) *number = atol(text);
        struct stat info;
        if (!fstat(fd, &info) && info.st_size < MARKS_MAX) (void)!write(fd, "x", 1);
        close(fd);
    }
    errno = saved;
    return fd >= 0;
}

/* Whether a file stands in this node's folder; whether it is a segment of its log. */
static int is_ours(int fd, int *segment) {
    int saved = errno;
    char link[64], target[PATH_MAX], folder[80];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = node[0] ? readlink(link, target, sizeof target - 1) : 0;
    errno = saved;
    if (n <= 0) return 0;
    target[n] = 0;
    snprintf(folder, sizeof folder, "/%s/", node);
    if (segment) *segment = n > 4 && !strcmp(target + n - 4, ".wal");
    return strstr(target, folder) != NULL;
}

/* One note about a file: what a write is about to replace (kind 1, the first `stored` of `len` bytes follow, the rest were
 * zeros or not there), or that a sync covers all notes before byte `offset` of the notes (kind 2). */
struct note {
    uint64_t kind, inode, born, offset, len, stored;
};

static int note_of(int fd, struct note *note) {
    struct statx info;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &info)) return 0;
    note->inode = info.stx_ino;
    note->born = info.stx_mask & STATX_BTIME ? info.stx_btime.tv_sec * 1000000000ull + info.stx_btime.tv_nsec : 0;
    return 1;
}

/* With the lock held. */
static void note_write(int fd, size_t len, off_t at) {
    struct note note = {.kind = 1, .offset = at, .len = len};
    if (!note_of(fd, &note)) return;
    char *bytes = calloc(1, sizeof note + len);
    size_t done = 0;
    for (ssize_t n; done < len && (n = pread(fd, bytes + sizeof note + done, len - done, at + done)) > 0;) done += n;
    for (size_t i = 0; i < done; i++)
        if (bytes[sizeof note + i]) note.stored = done;
    memcpy(bytes, &note, sizeof note);
    if (write(undo_fd, bytes, sizeof note + note.stored) < 0) abort();
    free(bytes);
}

static uint64_t notes_so_far(void) {
    pthread_mutex_lock(&undo_lock);
    off_t end = lseek(undo_fd, 0, SEEK_END);
    pthread_mutex_unlock(&undo_lock);
    return end;
}

static void note_sync(int fd, uint64_t upto) {
    struct note note = {.kind = 2, .offset = upto};
    if (!note_of(fd, &note)) return;
    pthread_mutex_lock(&undo_lock);
    if (write(undo_fd, &note, sizeof note) < 0) abort();
    pthread_mutex_unlock(&undo_lock);
}

static int sync_with(int (*real)(int), int fd) {
    if (!is_ours(fd, NULL)) return real(fd);
    char path[PATH_MAX];
    if (fires("eio", NULL)) {
        errno = EIO;
        return -1;
    }
    if (fires("lie", NULL)) return 0;
    if (fires("stall", NULL))
        while (snprintf(path, sizeof path, "%s/%s.stall", dir, node) > 0 && !access(path, F_OK)) usleep(2000);
    if (undo_fd < 0) return real(fd);
    uint64_t upto = notes_so_far();
    int failed = real(fd);
    if (!failed) note_sync(fd, upto);
    return failed;
}

static ssize_t write_with(ssize_t (*real)(int, const void *, size_t, off_t), int fd, const void *buf, size_t len, off_t at) {
    int segment = 0;
    long number = 0;
    if (!is_ours(fd, &segment)) return real(fd, buf, len, at);
    if (fires("full", NULL)) {
        errno = ENOSPC;
        return -1;
    }
    if (fires("slow", &number)) usleep(number * 1000);
    if (undo_fd >= 0) pthread_mutex_lock(&undo_lock);
    if (undo_fd >= 0) note_write(fd, len, at);
    ssize_t written;
    if (segment && fires("torn", &number)) {
        written = real(fd, buf, len > (size_t)number ? len - number : len / 2, at);
        kill(getpid(), SIGKILL);
    } else {
        written = real(fd, buf, len, at);
    }
    if (undo_fd >= 0) pthread_mutex_unlock(&undo_lock);
    return written;
}

#define NEXT(type, name, ...)                                  \
    static type (*real)(__VA_ARGS__);                          \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name);

int fdatasync(int fd) {
    NEXT(int, "fdatasync", int)
    return sync_with(real, fd);
}

int fsync(int fd) {
    NEXT(int, "fsync", int)
    return sync_with(real, fd);
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t at) {
    NEXT(ssize_t, "pwrite", int, const void *, size_t, off_t)
    return write_with(real, fd, buf, len, at);
}

ssize_t pwrite64(int fd, const void *buf, size_t len, off_t at) {
    NEXT(ssize_t, "pwrite64", int, const void *, size_t, off_t)
    return write_with(real, fd, buf, len, at);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    NEXT(int, "clock_gettime", clockid_t, struct timespec *)
    int failed = real(clock, now);
    long seconds = 0;
    if (!failed && clock == CLOCK_REALTIME && fires("clock", &seconds)) now->tv_sec += seconds;
    return failed;
}

int connect(int fd, const struct sockaddr *to, socklen_t len) {
    NEXT(int, "connect", int, const struct sockaddr *, socklen_t)
    const struct sockaddr_in *inet = (const struct sockaddr_in *)to;
    int type = 0;
    socklen_t size = sizeof type;
    if (!switch_port || len < sizeof *inet || inet->sin_family != AF_INET ||
        inet->sin_addr.s_addr != htonl(INADDR_LOOPBACK) || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) ||
        type != SOCK_STREAM)
        return real(fd, to, len);
    struct sockaddr_in through = *inet;
    through.sin_port = htons(switch_port);
    char preamble[PREAMBLE_BYTES] = "";
    snprintf(preamble, sizeof preamble, "%.23s %d", node, ntohs(inet->sin_port));
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
    int failed = real(fd, (struct sockaddr *)&through, sizeof through);
    if (!failed && send(fd, preamble, sizeof preamble, MSG_NOSIGNAL) != sizeof preamble) {
        errno = ECONNREFUSED;
        failed = -1;
    }
    int saved = errno;
    fcntl(fd, F_SETFL, flags);
    errno = saved;
    return failed;
}

ssize_t sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t size) {
    NEXT(ssize_t, "sendto", int, const void *, size_t, int, const struct sockaddr *, socklen_t)
    const struct sockaddr_in *inet = (const struct sockaddr_in *)to;
    char kind[32];
    if (to && size >= sizeof *inet && inet->sin_family == AF_INET) {
        snprintf(kind, sizeof kind, "cut-%d", ntohs(inet->sin_port));
        if (fires(kind, NULL)) return len;
    }
    return real(fd, buf, len, flags, to, size);
}
