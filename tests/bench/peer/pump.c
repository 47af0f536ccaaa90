/* What a pump costs at the least: read, write, rotate at line borders, the oldest generation unlinked first.
   Usage: pump DIR NAME LIMIT KEEP < pipe. No epoll, no checks, no second pipe. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char buffer[128 << 10];

int main(int argc, char **argv)
{
    char names[101][256];
    size_t size = 0, limit = strtoul(argv[3], 0, 10);
    int keep = atoi(argv[4]), fd;
    if (argc != 5 || chdir(argv[1])) return 1;
    snprintf(names[0], 256, "%s.log", argv[2]);
    for (int i = 1; i <= keep; i++) snprintf(names[i], 256, "%s.log.%d", argv[2], i);
    fd = open(names[0], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    for (;;) {
        ssize_t count = read(0, buffer, sizeof buffer);
        if (count <= 0) return 0;
        for (char *at = buffer; count > 0;) {
            size_t part = (size_t)count, room = limit - size;
            int full = part > room;
            if (full) {
                char *newline = memrchr(at, '\n', room);
                part = newline ? (size_t)(newline - at) + 1 : 0;
            }
            if (part && write(fd, at, part) != (ssize_t)part) return 2;
            at += part; count -= (ssize_t)part; size += part;
            if (full) {
                close(fd);
                unlink(names[keep]);
                for (int i = keep; i > 0; i--) rename(names[i - 1], names[i]);
                fd = open(names[0], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
                size = 0;
            }
        }
    }
}
