// failing_io — makes calls fail with EIO that a file names: one line, "CALL PART", for descriptors whose path has the
// part in it. Preloaded into the daemon by a test; without the file every call goes through. Compiled by `failing_io.py`.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int shall_fail(const char *call, int fd) {
    const char *control = getenv("FAILING_IO_OF_TEST");
    if (control == NULL) return 0;
    int file = (int)syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    char line[512] = "", wanted[64] = "", part[256] = "", link[64], path[4096];
    long length = syscall(SYS_read, file, line, sizeof line - 1);
    syscall(SYS_close, file);
    if (length <= 0 || sscanf(line, "%63s %255s", wanted, part) != 2 || strcmp(wanted, call) != 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = '\0';
    return strstr(path, part) != NULL;
}

#define FAIL_IF_ASKED(call, fd)     \
    if (shall_fail(call, fd)) {     \
        errno = EIO;                \
        return -1;                  \
    }

#define SYNC_CALL(name)                                              \
    int name(int fd) {                                               \
        static int (*real)(int);                                     \
        if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, #name);     \
        FAIL_IF_ASKED(#name, fd)                                     \
        return real(fd);                                             \
    }

#define WRITE_CALL(name, offset_type)                                                                      \
    ssize_t name(int fd, const void *bytes, size_t count, offset_type offset) {                            \
        static ssize_t (*real)(int, const void *, size_t, offset_type);                                    \
        if (!real) real = (ssize_t (*)(int, const void *, size_t, offset_type))dlsym(RTLD_NEXT, #name);    \
        FAIL_IF_ASKED("pwrite", fd)                                                                        \
        return real(fd, bytes, count, offset);                                                             \
    }

SYNC_CALL(fsync)
SYNC_CALL(fdatasync)
SYNC_CALL(syncfs)
WRITE_CALL(pwrite, off_t)
WRITE_CALL(pwrite64, off64_t)

ssize_t write(int fd, const void *bytes, size_t count) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    FAIL_IF_ASKED("write", fd)
    return real(fd, bytes, count);
}
