/* The service of the benches: says that it runs (its pid, four bytes, into the FIFO $BENCH_FIFO), keeps the FIFO open so that
 * its end can be seen, and waits. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
    const char *fifo = getenv("BENCH_FIFO");
    int fd = fifo ? open(fifo, O_WRONLY | O_CLOEXEC) : -1;
    pid_t pid = getpid();
    if (fifo && (fd < 0 || write(fd, &pid, sizeof pid) != sizeof pid))
        return 1;
    for (;;)
        pause();
}
