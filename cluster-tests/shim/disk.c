/* A disk that fails on request. Loaded into a node by LD_PRELOAD, it stands between the process and the calls that
 * read, write and sync files below one folder, and does what the control block says: slow, hang or fail.
 *
 * The control block is a file that the test writes and this maps shared, so that faults come and go while the node
 * runs. `cluster-tests/src/disk.rs` is the other side of it: both must agree on every offset below.
 *
 * With POLLUX_DISK_JOURNAL it also writes down each change it lets through, for tests that replay them to any point.
 *
 * It uses system calls directly, never malloc and never stdio: it runs inside the calls of any thread. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
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
static int journal_file = -1;
static char folder[PATH_MAX];
static size_t folder_length;

__attribute__((constructor)) static void attach(void) {
    const char *file = getenv("POLLUX_DISK_CONTROL");
    const char *dir = getenv("POLLUX_DISK_FOLDER");
    const char *journal = getenv("POLLUX_DISK_JOURNAL");
    if (!dir || strlen(dir) >= sizeof folder) return;
    strcpy(folder, dir);
    folder_length = strlen(folder);
    if (journal) {
        int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;
        journal_file = (int)syscall(SYS_openat, AT_FDCWD, journal, flags, 0644);
    }
    if (!file) return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) return;
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (mapped == MAP_FAILED || ((struct control *)mapped)->magic != MAGIC) return;
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

/* The path of an open file into `path`; 0 when there is none. */
static int path_of(int fd, char path[PATH_MAX]) {
    int before = errno;
    char link[40] = "/proc/self/fd/", digits[12];
    int length = 0;
    if (fd < 0) return 0;
    do {
        digits[length++] = (char)('0' + fd % 10);
    } while ((fd /= 10) > 0);
    char *end = link + strlen(link);
    while (length > 0) *end++ = digits[--length];
    *end = 0;
    ssize_t got = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    errno = before;
    if (got <= 0) return 0;
    path[got] = 0;
    return 1;
}

static int met(enum call call, int fd) {
    char path[PATH_MAX];
    if (quiet() || !path_of(fd, path)) return 0;
    return met_by_path(call, path);
}

/* ---- the journal: every change of a file or a name below the folder, in the order in which it was made ---- */

enum entry { ENTRY_CREATE = 1, ENTRY_WRITE, ENTRY_LENGTH, ENTRY_RENAME, ENTRY_REMOVE, ENTRY_FOLDER, ENTRY_SYNC };

static pthread_mutex_t journal_turn = PTHREAD_MUTEX_INITIALIZER;

/* Held over a call and its entry, so that the journal has the order of the calls. */
static int begin_entry(void) {
    if (journal_file < 0) return 0;
    pthread_mutex_lock(&journal_turn);
    return 1;
}

static void end_entry(int begun) {
    if (begun) pthread_mutex_unlock(&journal_turn);
}

static void note(enum entry kind, const char *name, uint64_t at, const void *data, uint64_t count) {
    int before = errno;
    struct {
        uint32_t kind, name_length;
        uint64_t at, count;
    } head = {kind, (uint32_t)strlen(name), at, count};
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)name, head.name_length}, {(void *)data, data ? count : 0}};
    syscall(SYS_writev, journal_file, parts, 3);
    errno = before;
}

/* Where the next write of `fd` goes. */
static uint64_t place_of(int fd) {
    int flags = (int)syscall(SYS_fcntl, fd, F_GETFL, 0);
    return (uint64_t)syscall(SYS_lseek, fd, 0, flags & O_APPEND ? SEEK_END : SEEK_CUR);
}

/* The name below the folder that a change of `fd` is noted under, or NULL where nothing is noted. */
static const char *noted(int fd, char path[PATH_MAX]) {
    return journal_file >= 0 && path_of(fd, path) ? below(path) : NULL;
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
    if (met(CALL_WRITE, fd) < 0) return -1;
    char path[PATH_MAX];
    const char *name = noted(fd, path);
    if (!name) return syscall(SYS_write, fd, from, count);
    int begun = begin_entry();
    uint64_t at = place_of(fd);
    ssize_t done = syscall(SYS_write, fd, from, count);
    if (done > 0) note(ENTRY_WRITE, name, at, from, (uint64_t)done);
    end_entry(begun);
    return done;
}

ssize_t pwrite64(int fd, const void *from, size_t count, off64_t at) {
    if (met(CALL_WRITE, fd) < 0) return -1;
    char path[PATH_MAX];
    const char *name = noted(fd, path);
    if (!name) return syscall(SYS_pwrite64, fd, from, count, at);
    int begun = begin_entry();
    ssize_t done = syscall(SYS_pwrite64, fd, from, count, at);
    if (done > 0) note(ENTRY_WRITE, name, (uint64_t)at, from, (uint64_t)done);
    end_entry(begun);
    return done;
}

ssize_t pwrite(int fd, const void *from, size_t count, off_t at) { return pwrite64(fd, from, count, at); }

ssize_t writev(int fd, const struct iovec *from, int count) {
    if (met(CALL_WRITE, fd) < 0) return -1;
    char path[PATH_MAX];
    /* A file whose changes are noted gets its pieces one by one. */
    if (count > 0 && noted(fd, path)) return write(fd, from[0].iov_base, from[0].iov_len);
    return syscall(SYS_writev, fd, from, count);
}

int ftruncate64(int fd, off64_t length) {
    if (met(CALL_WRITE, fd) < 0) return -1;
    char path[PATH_MAX];
    const char *name = noted(fd, path);
    int begun = begin_entry();
    int done = (int)syscall(SYS_ftruncate, fd, length);
    if (done == 0 && name) note(ENTRY_LENGTH, name, (uint64_t)length, NULL, 0);
    end_entry(begun);
    return done;
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static int synced(int fd, long call) {
    if (met(CALL_SYNC, fd) < 0) return -1;
    char path[PATH_MAX];
    const char *name = noted(fd, path);
    /* The folder itself has the empty name. */
    if (!name && journal_file >= 0 && path_of(fd, path) && strcmp(path, folder) == 0) name = "";
    int begun = begin_entry();
    int done = (int)syscall(call, fd);
    if (done == 0 && name) note(ENTRY_SYNC, name, 0, NULL, 0);
    end_entry(begun);
    return done;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }

int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

/* Not noted: it makes nothing durable. */
int sync_file_range(int fd, off64_t from, off64_t count, unsigned flags) {
    return met(CALL_SYNC, fd) < 0 ? -1 : (int)syscall(SYS_sync_file_range, fd, from, count, flags);
}

/* A file that is made needs a block as a write does. */
static int opened(int dir, const char *path, int flags, mode_t mode) {
    if ((flags & O_CREAT) && met_by_path(CALL_WRITE, path) < 0) return -1;
    const char *name = journal_file >= 0 && flags & (O_CREAT | O_TRUNC) ? below(path) : NULL;
    int begun = begin_entry();
    int done = (int)syscall(SYS_openat, dir, path, flags, mode);
    if (done >= 0 && name && flags & O_CREAT) note(ENTRY_CREATE, name, 0, NULL, 0);
    if (done >= 0 && name && flags & O_TRUNC) note(ENTRY_LENGTH, name, 0, NULL, 0);
    end_entry(begun);
    return done;
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

int rename(const char *from, const char *to) {
    int begun = begin_entry();
    int done = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    const char *old = below(from), *name = below(to);
    if (done == 0 && begun && old && name) note(ENTRY_RENAME, old, 0, name, strlen(name));
    end_entry(begun);
    return done;
}

static int removed(int dir, const char *path, int flags) {
    char whole[PATH_MAX];
    int begun = begin_entry();
    int length = begun && dir != AT_FDCWD && path[0] != '/' && path_of(dir, whole) ? (int)strlen(whole) : -1;
    if (length >= 0) snprintf(whole + length, sizeof whole - (size_t)length, "/%s", path);
    int done = (int)syscall(SYS_unlinkat, dir, path, flags);
    const char *name = begun ? below(length >= 0 ? whole : path) : NULL;
    if (done == 0 && name) note(ENTRY_REMOVE, name, 0, NULL, 0);
    end_entry(begun);
    return done;
}

int unlink(const char *path) { return removed(AT_FDCWD, path, 0); }

int rmdir(const char *path) { return removed(AT_FDCWD, path, AT_REMOVEDIR); }

int unlinkat(int dir, const char *path, int flags) { return removed(dir, path, flags); }

int mkdir(const char *path, mode_t mode) {
    int begun = begin_entry();
    int done = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    const char *name = begun ? below(path) : NULL;
    if (done == 0 && name) note(ENTRY_FOLDER, name, 0, NULL, 0);
    end_entry(begun);
    return done;
}
