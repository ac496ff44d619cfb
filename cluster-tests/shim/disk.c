/* A disk that fails on request. Loaded into a node by LD_PRELOAD, it stands between the process and the calls that
 * read, write and sync files below one folder, and does what the control block says: slow, hang or fail.
 *
 * The control block is a file that the test writes and this maps shared, so that faults come and go while the node
 * runs. `cluster-tests/src/disk.rs` is the other side of it: both must agree on every offset below.
 *
 * It uses system calls directly, never malloc and never stdio: it runs inside the calls of any thread. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum call { CALL_READ = 1, CALL_WRITE = 2, CALL_SYNC = 4 };
enum action { ACTION_SLOW = 1, ACTION_HANG = 2, ACTION_FAIL = 3 };

#define MAGIC 0x506c5844u
#define RULES_MAX 16
#define WITHIN_MAX 80

/* 128 octets. */
struct rule {
    uint32_t calls;
    uint32_t action;
    uint32_t argument; /* milliseconds, or an errno */
    uint32_t per_million;
    uint64_t seed;
    _Atomic uint64_t seen;
    _Atomic uint64_t hit;
    char within[WITHIN_MAX]; /* part of the path below the folder; empty: all of it */
    uint64_t unused;
};

struct control {
    uint32_t magic;
    _Atomic uint32_t sequence; /* odd while the test writes */
    _Atomic uint32_t rules;
    uint32_t unused;
    _Atomic uint64_t hit; /* calls that any rule has touched */
    uint64_t unused_too;
    struct rule rule[RULES_MAX];
};

static struct control *control;
static char folder[PATH_MAX];
static size_t folder_length;

__attribute__((constructor)) static void attach(void) {
    const char *file = getenv("POLLUX_DISK_CONTROL");
    const char *dir = getenv("POLLUX_DISK_FOLDER");
    if (!file || !dir || strlen(dir) >= sizeof folder) return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) return;
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (mapped == MAP_FAILED || ((struct control *)mapped)->magic != MAGIC) return;
    strcpy(folder, dir);
    folder_length = strlen(folder);
    control = mapped;
}

static void rest_a_moment(void) {
    struct timespec moment = {0, 2 * 1000 * 1000};
    syscall(SYS_nanosleep, &moment, NULL);
}

static uint64_t now_ms(void) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* splitmix64: the same dice for the same seed, whichever thread throws. */
static uint64_t dice(uint64_t seed, uint64_t throw) {
    uint64_t z = seed + (throw + 1) * 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* What is below the folder in `path`, or NULL. */
static const char *below(const char *path) {
    if (strncmp(path, folder, folder_length) != 0 || path[folder_length] != '/') return NULL;
    return path + folder_length + 1;
}

/* Rule `at`, copied whole; returns the sequence it was read under, or 0 when there is none. */
static uint32_t rule_at(uint32_t at, struct rule *rule) {
    for (;;) {
        uint32_t before = atomic_load(&control->sequence);
        if (before & 1) {
            rest_a_moment();
            continue;
        }
        int there = at < atomic_load(&control->rules);
        if (there) memcpy(rule, &control->rule[at], sizeof *rule);
        if (atomic_load(&control->sequence) != before) continue;
        /* Even and never 0 once there is a rule. */
        return there ? before : 0;
    }
}

/* Applies the rules to a call on `name`; -1 with errno set where it is to fail. */
static int meet(enum call call, const char *name) {
    struct rule rule;
    uint32_t sequence;
    for (uint32_t at = 0; at < RULES_MAX && (sequence = rule_at(at, &rule)) != 0; at++) {
        if (!(rule.calls & call)) continue;
        if (rule.within[0] && !strstr(name, rule.within)) continue;
        uint64_t throw = atomic_fetch_add(&control->rule[at].seen, 1);
        if (rule.per_million < 1000000 && dice(rule.seed, throw) % 1000000 >= rule.per_million) continue;
        atomic_fetch_add(&control->rule[at].hit, 1);
        atomic_fetch_add(&control->hit, 1);
        uint64_t until = now_ms() + rule.argument;
        switch (rule.action) {
        case ACTION_FAIL:
            errno = (int)rule.argument;
            return -1;
        case ACTION_SLOW:
            while (atomic_load(&control->sequence) == sequence && now_ms() < until) rest_a_moment();
            break;
        case ACTION_HANG:
            while (atomic_load(&control->sequence) == sequence) rest_a_moment();
            /* Any change ends the wait; what the rules say now is met in full. */
            return meet(call, name);
        }
    }
    return 0;
}

static int quiet(void) { return !control || atomic_load(&control->rules) == 0; }

static int met_by_path(enum call call, const char *path) {
    if (quiet()) return 0;
    int before = errno;
    const char *name = below(path);
    if (name && meet(call, name) < 0) return -1;
    errno = before;
    return 0;
}

static int met(enum call call, int fd) {
    if (quiet()) return 0;
    int before = errno;
    char link[40] = "/proc/self/fd/", digits[12], path[PATH_MAX];
    int length = 0;
    if (fd < 0) return 0;
    do {
        digits[length++] = (char)('0' + fd % 10);
    } while ((fd /= 10) > 0);
    char *end = link + strlen(link);
    while (length > 0) *end++ = digits[--length];
    *end = 0;
    ssize_t got = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    errno = before;
    if (got <= 0) return 0;
    path[got] = 0;
    return met_by_path(call, path);
}

/* ---- what is stood in for ---- */

ssize_t read(int fd, void *to, size_t count) {
    return met(CALL_READ, fd) < 0 ? -1 : syscall(SYS_read, fd, to, count);
}

ssize_t pread64(int fd, void *to, size_t count, off64_t at) {
    return met(CALL_READ, fd) < 0 ? -1 : syscall(SYS_pread64, fd, to, count, at);
}

ssize_t pread(int fd, void *to, size_t count, off_t at) { return pread64(fd, to, count, at); }

ssize_t readv(int fd, const struct iovec *to, int count) {
    return met(CALL_READ, fd) < 0 ? -1 : syscall(SYS_readv, fd, to, count);
}

ssize_t write(int fd, const void *from, size_t count) {
    return met(CALL_WRITE, fd) < 0 ? -1 : syscall(SYS_write, fd, from, count);
}

ssize_t pwrite64(int fd, const void *from, size_t count, off64_t at) {
    return met(CALL_WRITE, fd) < 0 ? -1 : syscall(SYS_pwrite64, fd, from, count, at);
}

ssize_t pwrite(int fd, const void *from, size_t count, off_t at) { return pwrite64(fd, from, count, at); }

ssize_t writev(int fd, const struct iovec *from, int count) {
    return met(CALL_WRITE, fd) < 0 ? -1 : syscall(SYS_writev, fd, from, count);
}

int ftruncate64(int fd, off64_t length) {
    return met(CALL_WRITE, fd) < 0 ? -1 : (int)syscall(SYS_ftruncate, fd, length);
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int fsync(int fd) { return met(CALL_SYNC, fd) < 0 ? -1 : (int)syscall(SYS_fsync, fd); }

int fdatasync(int fd) { return met(CALL_SYNC, fd) < 0 ? -1 : (int)syscall(SYS_fdatasync, fd); }

int sync_file_range(int fd, off64_t from, off64_t count, unsigned flags) {
    return met(CALL_SYNC, fd) < 0 ? -1 : (int)syscall(SYS_sync_file_range, fd, from, count, flags);
}

/* A file that is made needs a block as a write does. */
static int opened(int dir, const char *path, int flags, mode_t mode) {
    if ((flags & O_CREAT) && met_by_path(CALL_WRITE, path) < 0) return -1;
    return (int)syscall(SYS_openat, dir, path, flags, mode);
}

static mode_t mode_of(int flags, va_list rest) {
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

#define OPENING(name, parameters, dir)                                                                                 \
    int name parameters {                                                                                              \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = mode_of(flags, rest);                                                                            \
        va_end(rest);                                                                                                  \
        return opened(dir, path, flags, mode);                                                                         \
    }

OPENING(open, (const char *path, int flags, ...), AT_FDCWD)
OPENING(open64, (const char *path, int flags, ...), AT_FDCWD)
OPENING(openat, (int dir, const char *path, int flags, ...), dir)
OPENING(openat64, (int dir, const char *path, int flags, ...), dir)
